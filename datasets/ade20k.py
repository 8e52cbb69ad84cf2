"""ADE20K's SceneParsing release on disk (150 classes); and a writer of the same layout.

    ADEChallengeData2016/images/{training,validation}/ADE_val_00000001.jpg
    ADEChallengeData2016/annotations/{training,validation}/ADE_val_00000001.png     0 unlabelled, 1 ... 150 classes

A picture and its mask are a pair by their names; `names` lists the pairs once for training, prediction, scores and galleries.

Known of the original: 20 210 training and 2 000 validation images. It is not the full ADE20K, whose masks are coloured.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from longtake.datasets.findings import Wrong, looked_at
from longtake.datasets.folders import nearby
from longtake.datasets.listing import by_stem, in_order, picture_named, shown
from longtake.datasets.oddities import empty_masks, odd_pictures
from longtake.datasets.pictures import mask_numbers, opened, read_picture

IGNORED = 255
HOW_TO_GET = (
    "ADE20K: ADEChallengeData2016.zip (data.csail.mit.edu/places/ADEchallenge) under the data root; or root=FOLDER"
)
EXPECTED = {"training": 20_210, "validation": 2_000}


@dataclass(frozen=True)
class ADE20K:
    """A folder `ADEChallengeData2016`. Masks are read with classes 0 ... 149 and 255 for what is unlabelled."""

    root: Path
    num_classes: int = 150

    def check(self, lists: Sequence[str]) -> list[str]:
        """List what is missing; [] when the splits can be read. Raises `ValueError` where images and masks do not pair."""
        if not self.root.is_dir():
            return [f"no folder {self.root} (expected images, annotations in it). {HOW_TO_GET}"]
        if not (self.root / "images").is_dir():
            hint = nearby(self.root, "annotations")
            raise ValueError(f"{self.root}: no images in it, expected the folder ADEChallengeData2016 itself{hint}")
        for split in lists:
            names = self.names(split)
            lonely = [name for name in names if not self.mask_file(name).is_file()]
            if lonely:
                raise ValueError(f"{self.root}: {len(lonely)} images of {split} have no mask: {lonely[:3]}")
            check_pictures_of_masks(self.root / "annotations" / split, names)
        return []

    def names(self, split: str) -> list[str]:
        """`<split>/<stem>` of every image, in order. Raises `ValueError` where there is none, or two of one name."""
        names = sorted(f"{split}/{stem}" for stem in by_stem(self.root / "images" / split))
        if not names:
            raise ValueError(f"{self.root / 'images' / split}: no images (.jpg) in it")
        return names

    def image(self, name: str) -> Path:
        return picture_named(self.root / "images" / name, ".jpg")

    def mask_file(self, name: str) -> Path:
        return self.root / "annotations" / f"{name}.png"

    def mask(self, name: str) -> UInt8[np.ndarray, "h w"]:
        """Raises `ValueError` for an image that cannot be read, has no class numbers, or one above the number of classes."""
        path = self.mask_file(name)
        with opened(path) as image:
            mask = mask_numbers(image, path, "class numbers")
        if mask.max() > self.num_classes:
            raise ValueError(f"{path}: got class {mask.max()}, expected 0 to {self.num_classes}")
        return mask - np.uint8(1)  # 0 becomes 255

    def wrong_masks(self, names: Iterable[str]) -> list[str]:
        """List the masks that cannot be used: `mask` refuses them, or their size is not the image's. Reads all of them."""
        found = []
        for name in names:
            try:
                shape = self.mask(name).shape
                with opened(self.image(name)) as image:
                    if image.size[::-1] != shape:
                        found.append(f"{self.mask_file(name)}: the mask is not as large as the image")
            except ValueError as error:
                found.append(str(error))
        return found

    def validate(self, lists: Sequence[str], progress: bool = False) -> list[str]:
        """List what is odd: splits of another size than the original's, masks without a class.

        `Wrong` are images and masks that cannot be decoded, and `wrong_masks`.
        """
        found = []
        for split in lists:
            names = self.names(split)
            if EXPECTED.get(split) not in (None, len(names)):
                found.append(f"{split}: {len(names)} images, the original has {EXPECTED[split]}")
            found += looked_at(partial(odd_pair, self), names, f"images of {split}", progress)
            found += odd_pictures((self.image(name) for name in names), split)
            found += empty_masks((self.mask_file(name) for name in names), split)
        return found


def check_pictures_of_masks(folder: Path, names: Sequence[str]) -> None:
    """Raise `ValueError` for masks of a split without a picture: a part of it is missing."""
    known = {name.partition("/")[2] for name in names}
    if lonely := in_order(by_stem(folder, (".png",)).keys() - known):
        raise ValueError(f"{folder}: {len(lonely)} masks have no image: {shown(lonely)}")


def odd_pair(data: ADE20K, name: str) -> list[str]:
    """List as `Wrong` a mask that is not as large as its image. Raises `ValueError` for an image that cannot be decoded."""
    read_picture(data.image(name))
    return [Wrong(line) for line in data.wrong_masks([name])]


def write_ade20k(
    root: Path, split: str, pairs: Iterable[tuple[str, np.ndarray, np.ndarray]], num_classes: int = 150
) -> ADE20K:
    """Write (stem, image (h, w, 3), mask (h, w) of 0 ... and 255) in the official layout."""
    for kind in ("images", "annotations"):
        (root / kind / split).mkdir(parents=True, exist_ok=True)
    for stem, image, mask in pairs:
        Image.fromarray(image).save(root / "images" / split / f"{stem}.jpg", quality=95)
        Image.fromarray(mask + np.uint8(1)).save(root / "annotations" / split / f"{stem}.png")
    return ADE20K(root, num_classes)

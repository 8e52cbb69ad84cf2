"""Oxford 102 Flowers (https://www.robots.ox.ac.uk/~vgg/data/flowers/102/).

    flowers-102/jpg/image_00001.jpg ...
    flowers-102/imagelabels.mat      labels: class of every image, from 1
    flowers-102/setid.mat            trnid, valid, tstid: image numbers, from 1

Fine-tuning trains on trnid and valid together, 2040 images, and tests on the 6149 of tstid (iBOT's evaluation, and the literature).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from longtake.datasets.annotations import read_mat
from longtake.datasets.labelled import FileImages, ImageSet, counted_from

NUM_CLASSES = 102
LISTS = {"train": ("trnid", "valid"), "test": ("tstid",)}


@dataclass(frozen=True)
class Flowers(ImageSet):
    """A folder in that layout."""

    title: ClassVar[str] = "Flowers-102"
    folder: ClassVar[str] = "flowers-102"
    how_to_get: ClassVar[str] = (
        "Flowers-102: 102flowers.tgz (jpg/), imagelabels.mat and setid.mat from robots.ox.ac.uk/~vgg/data/flowers/102, "
        "under the data root; or root=FOLDER"
    )
    expected: ClassVar[dict[str, int]] = {"train": 2040, "test": 6149}

    def needed(self, split: str) -> list[str]:
        return ["jpg", "imagelabels.mat", "setid.mat"]

    def open(self, split: str) -> FileImages:
        path = self.root / "setid.mat"
        numbers = read_mat(self.root / "imagelabels.mat", ["labels"])["labels"]
        lists = read_mat(path, LISTS[split])
        ids = np.concatenate([np.atleast_1d(lists[name]) for name in LISTS[split]]).astype(np.int64)
        if not len(ids) or not 1 <= ids.min() <= ids.max() <= numbers.size:
            raise ValueError(f"{path}: image numbers that are not among the {numbers.size} of imagelabels.mat")
        labels = counted_from(1, np.atleast_1d(numbers)[ids - 1], NUM_CLASSES, self.root / "imagelabels.mat")
        items = [f"jpg/image_{number:05d}.jpg" for number in ids]
        return FileImages(items, labels, [f"class {label + 1}" for label in range(NUM_CLASSES)], self.root)


def write_flowers(
    root: Path,
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    labels: Int[np.ndarray, "n"],
    lists: dict[str, Sequence[int]],
) -> Flowers:
    """Write images with labels from 0; `lists` has the images' numbers from 0 in trnid, valid and tstid."""
    from scipy.io import savemat

    (root / "jpg").mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(root / "jpg" / f"image_{i + 1:05d}.jpg", quality=95)
    savemat(root / "imagelabels.mat", {"labels": (labels + 1).astype(np.uint8)[None]})
    savemat(root / "setid.mat", {name: np.array(ids, np.uint16)[None] + 1 for name, ids in lists.items()})
    return Flowers(root)

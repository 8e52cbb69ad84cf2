"""DAVIS on disk: sequences of frames with a mask each; and a writer of the same layout.

    DAVIS/ImageSets/2017/{train,val}.txt
    DAVIS/JPEGImages/480p/<sequence>/00000.jpg ...
    DAVIS/Annotations/480p/<sequence>/00000.png ...     palette; 0 background, 1 ... objects, 255 void

Known of the original (2017, val): 30 sequences, 61 objects, 1999 frames; most frames are 854 x 480, some wider.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from longtake.datasets.annotations import below
from longtake.datasets.findings import Wrong, looked_at
from longtake.datasets.folders import nearby, read_names
from longtake.datasets.palette import PALETTE
from longtake.datasets.pictures import UnreadableImage, opened, read_picture

VOID = 255
EXPECTED = {
    ("2017", "train"): 60,
    ("2017", "val"): 30,
    ("2016", "train"): 30,
    ("2016", "val"): 20,
}  # sequences of the originals
HOW_TO_GET = (
    "DAVIS 2017: DAVIS-2017-trainval-480p.zip from davischallenge.org, unpacked under the data root; or root=FOLDER"
)


@dataclass(frozen=True)
class Sequence:
    """Frames and masks of a sequence, in order; a mask has its frame's name."""

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class DAVIS:
    """A folder in DAVIS's layout; `binary_masks` reads masks of 0 and 255 as one object (DAVIS 2016)."""

    root: Path
    split: str = "val"
    year: str = "2017"
    resolution: str = "480p"
    binary_masks: bool = False

    @property
    def list_file(self) -> Path:
        return self.root / "ImageSets" / self.year / f"{self.split}.txt"

    def check(self) -> list[str]:
        """List what is missing; [] when every sequence can be read. Raises `ValueError` when what is there is wrong."""
        if not self.root.is_dir():
            return [f"no folder {self.root} (expected JPEGImages, Annotations, ImageSets in it). {HOW_TO_GET}"]
        if not (self.root / "JPEGImages").is_dir():
            hint = nearby(self.root, "JPEGImages")
            raise ValueError(f"{self.root}: no JPEGImages in it, expected the folder DAVIS itself{hint}")
        for sequence in self.sequences():
            self.mask(sequence.masks[0])
        return []

    def validate(self, progress: bool = False) -> list[str]:
        """List what is odd: another number of sequences than the original's, frames that are not as large as their masks.

        `Wrong` are frames and masks that cannot be decoded, and masks that cannot be scored.
        """
        found, sequences = [], self.sequences()
        expected = EXPECTED.get((self.year, self.split))
        if expected not in (None, len(sequences)):
            found.append(f"{self.list_file.name}: {len(sequences)} sequences, the original has {expected}")
        return found + looked_at(partial(odd_frames, self), sequences, "sequences", progress)

    def sequences(self) -> list[Sequence]:
        """All sequences of the split. Raises `ValueError` for a list, frames or masks that are missing or do not match."""
        if not self.list_file.is_file():
            raise ValueError(f"{self.list_file}: no such list of sequences")
        names = below(read_names(self.list_file).split(), self.list_file)
        if not names:
            raise ValueError(f"{self.list_file}: the list is empty")
        return [self._sequence(name) for name in names]

    def _sequence(self, name: str) -> Sequence:
        folders = [self.root / kind / self.resolution / name for kind in ("JPEGImages", "Annotations")]
        frames, masks = (
            tuple(sorted(folder.glob(f"*{suffix}"))) for folder, suffix in zip(folders, (".jpg", ".png"), strict=True)
        )
        if not frames or [p.stem for p in frames] != [p.stem for p in masks]:
            raise ValueError(
                f"{name}: {len(frames)} frames in {folders[0]} and {len(masks)} masks in {folders[1]}, expected the same names"
            )
        if len(frames) < 3:
            raise ValueError(
                f"{name}: {len(frames)} frames, expected 3 or more (the first and the last are not scored)"
            )
        return Sequence(name, frames, masks)

    def mask(self, path: Path) -> UInt8[np.ndarray, "h w"]:
        """Object of every pixel, 0 background, 255 void. Raises `ValueError` for an image that has no object numbers."""
        with opened(path) as image:
            if image.mode not in ("P", "L", "1"):
                raise ValueError(f"{path}: got an image of mode {image.mode}, expected object numbers (mode P or L)")
            mask = np.array(image.convert("L") if image.mode == "1" else image)
        numbers = set(np.unique(mask).tolist())
        if numbers <= {0, VOID} and VOID in numbers:
            if not self.binary_masks:
                raise ValueError(
                    f"{path}: got a mask of 0 and 255, which are background and void; binary_masks=true takes 255 as one object"
                )
            return (mask == VOID).astype(np.uint8)
        return mask

    def truth(self, sequence: Sequence) -> UInt8[np.ndarray, "t h w"]:
        """All masks. Raises `ValueError` when sizes differ, no object is in the first frame, or one appears only later."""
        masks = [self.mask(path) for path in sequence.masks]
        if len({mask.shape for mask in masks}) > 1:
            raise ValueError(f"{sequence.name}: masks of different sizes: {sorted({mask.shape for mask in masks})}")
        first, later = (set(np.unique(m).tolist()) - {0, VOID} for m in (masks[0], np.stack(masks[1:])))
        if not first:
            raise ValueError(f"{sequence.name}: no object in the first mask {sequence.masks[0]}")
        if late := later - first:
            where = next(p for p, m in zip(sequence.masks, masks, strict=True) if np.isin(m, list(late)).any())
            raise ValueError(
                f"{sequence.name}: object {min(late)} appears first in {where.name}; objects are those of the first frame"
            )
        return np.stack(masks)


def odd_frames(data: DAVIS, sequence: Sequence) -> list[str]:
    """List frames that are not as large as their masks or cannot be decoded (`Wrong`). Raises `ValueError` as `truth` does."""
    (height, width), found = data.truth(sequence).shape[1:], list[str]()
    for path in sequence.frames:
        try:
            size = read_picture(path).size
        except UnreadableImage as error:
            found.append(Wrong(error))
            continue
        if size != (width, height):
            found.append(f"{path}: {size[0]} x {size[1]}, its mask {width} x {height}")
    return found


def write_mask(mask: UInt8[np.ndarray, "h w"], path: Path) -> None:
    """A PNG with DAVIS's palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask, "P")
    image.putpalette(PALETTE.tobytes())
    image.save(path)


def write_davis(
    root: Path,
    sequences: Iterable[tuple[str, np.ndarray, np.ndarray]],
    split: str = "val",
) -> DAVIS:
    """Write (name, frames (t, h, w, 3), masks (t, h, w)) of sequences in the official layout, uint8."""
    names = []
    for name, frames, masks in sequences:
        names.append(name)
        folder = root / "JPEGImages" / "480p" / name
        folder.mkdir(parents=True, exist_ok=True)
        for t, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
            Image.fromarray(frame).save(folder / f"{t:05d}.jpg", quality=95)
            write_mask(mask, root / "Annotations" / "480p" / name / f"{t:05d}.png")
    listed = DAVIS(root, split)
    listed.list_file.parent.mkdir(parents=True, exist_ok=True)
    listed.list_file.write_text("".join(f"{name}\n" for name in names))
    return listed

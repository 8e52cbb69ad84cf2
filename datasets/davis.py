"""DAVIS on disk: sequences of frames with a mask each; and a writer of the same layout.

    DAVIS/ImageSets/2017/{train,val}.txt                a sequence a line
    DAVIS/ImageSets/480p/{train,val}.txt                DAVIS 2016's own: /JPEGImages/480p/... /Annotations/480p/... a line
    DAVIS/JPEGImages/480p/<sequence>/00000.jpg ...
    DAVIS/Annotations/480p/<sequence>/00000.png ...     palette; 0 background, 1 ... objects, 255 void

Frames are in natural order, 2 before 10, and a mask has its frame's name.

Known of the original (2017, val): 30 sequences, 61 objects, 1999 frames; most frames are 854 x 480, some wider.
"""

from collections.abc import Collection, Iterable
from collections.abc import Sequence as PathsInOrder
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from longtake.datasets.annotations import below
from longtake.datasets.davis_masks import VOID, is_binary, objects_in, one_kind, stored_mask
from longtake.datasets.findings import Wrong, looked_at
from longtake.datasets.folders import nearby
from longtake.datasets.listing import by_stem, in_order, lines_of, natural, shown
from longtake.datasets.oddities import odd_pictures
from longtake.datasets.palette import PALETTE
from longtake.datasets.pictures import UnreadableImage, read_picture

EXPECTED = {
    ("2017", "train"): 60,
    ("2017", "val"): 30,
    ("2016", "train"): 30,
    ("2016", "val"): 20,
}  # sequences of the originals
PAIRED, OWN_LISTS = "/JPEGImages/", "2016"  # how the lines of DAVIS 2016's own lists begin
HOW_TO_GET = (
    "DAVIS 2017: DAVIS-2017-trainval-480p.zip from davischallenge.org, unpacked under the data root; or root=FOLDER"
)


@dataclass(frozen=True)
class Sequence:
    """Frames and masks of a sequence, in order; those at one place are a pair."""

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
        """The year's list, or DAVIS 2016's own where only that is there."""
        usual, own = (self.root / "ImageSets" / kind / f"{self.split}.txt" for kind in (self.year, self.resolution))
        return own if own.is_file() and not usual.is_file() else usual

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
        year = OWN_LISTS if self.list_file.parent.name == self.resolution else self.year
        expected = EXPECTED.get((year, self.split))
        if expected not in (None, len(sequences)):
            found.append(f"{self.list_file.name}: {len(sequences)} sequences, the original has {expected}")
        found += looked_at(partial(odd_frames, self), sequences, "sequences", progress)
        return found + odd_pictures((path for sequence in sequences for path in sequence.frames), self.split)

    def sequences(self) -> list[Sequence]:
        """All sequences of the split. Raises `ValueError` for a list, frames or masks that are missing or do not match."""
        if not self.list_file.is_file():
            raise ValueError(f"{self.list_file}: no such list of sequences")
        lines = lines_of(self.list_file)
        paired = listed_pairs(self.root, lines, self.list_file)
        names = [] if paired else below(lines, self.list_file)
        return [self._whole(sequence) for sequence in (*paired, *map(self._sequence, names))]

    def _sequence(self, name: str) -> Sequence:
        folders = [self.root / kind / self.resolution / name for kind in ("JPEGImages", "Annotations")]
        frames, masks = by_stem(folders[0]), by_stem(folders[1], (".png",))
        if not frames or frames.keys() != masks.keys():
            raise ValueError(
                f"{name}: {len(frames)} frames in {folders[0]} and {len(masks)} masks in {folders[1]}, expected the same names"
                f"{lonely(frames.keys(), masks.keys())}"
            )
        order = in_order(frames)
        return Sequence(name, tuple(frames[stem] for stem in order), tuple(masks[stem] for stem in order))

    def _whole(self, sequence: Sequence) -> Sequence:
        """The sequence. Raises `ValueError` when it is too short."""
        if len(sequence.frames) < 3:
            raise ValueError(
                f"{sequence.name}: {len(sequence.frames)} frames, expected 3 or more (the first and the last are not scored)"
            )
        return sequence

    def mask(self, path: Path, numbered: bool = False) -> UInt8[np.ndarray, "h w"]:
        """Object of every pixel, 0 background, 255 void. Raises `ValueError` for an image that has no object numbers.

        `numbered`: 255 is void even where it is all that there is.
        """
        mask = stored_mask(path)
        numbers = set(np.unique(mask).tolist())
        if not numbered and numbers <= {0, VOID} and VOID in numbers:
            if not self.binary_masks:
                raise ValueError(
                    f"{path}: got a mask of 0 and 255, which are background and void; binary_masks=true takes 255 as one object"
                )
            return (mask == VOID).astype(np.uint8)
        return mask

    def masks(self, paths: PathsInOrder[Path]) -> list[UInt8[np.ndarray, "h w"]]:
        """The masks of a sequence. The first one says whether they are of 0 and 255, one object, or numbered and 255 is void.

        Raises `ValueError` as `mask`.
        """
        numbered = not is_binary(stored_mask(paths[0]))
        return [one_kind(self.mask(path, numbered), numbered, path) for path in paths]

    def truth(self, sequence: Sequence) -> UInt8[np.ndarray, "t h w"]:
        """All masks. Raises `ValueError` when sizes differ, no object is in the first frame, or one appears only later."""
        masks = self.masks(sequence.masks)
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


def with_objects(folder: DAVIS) -> tuple[list[Sequence], list[str]]:
    """The sequences that have an object in the first mask, and the names of the others, in which nothing can be followed.

    Raises `ValueError` where all are so.
    """
    sequences = folder.sequences()
    kept = [s for s in sequences if objects_in(folder.mask(s.masks[0]))]
    if not kept:
        raise ValueError(f"{folder.list_file}: {len(sequences)} sequences, none with an object in the first mask")
    return kept, [s.name for s in sequences if s not in kept]


def listed_pairs(root: Path, lines: list[str], path: Path) -> list[Sequence]:
    """The sequences of a list of DAVIS 2016, whose lines are a frame and its mask below `root`; [] for a list of names.

    Raises `ValueError` for a line that is no such pair, and for files that are not there.
    """
    if not any(line.startswith(PAIRED) for line in lines):
        return []
    found: dict[str, list[tuple[Path, Path]]] = {}
    for line in lines:
        parts = line.split()
        if len(parts) != 2 or not line.startswith(PAIRED) or any(".." in Path(part).parts for part in parts):
            raise ValueError(
                f"{path}: got the line {line!r}, expected {PAIRED}... /Annotations/..., a frame and its mask"
            )
        frame, mask = (root / part.lstrip("/") for part in parts)
        if absent := [file for file in (frame, mask) if not file.is_file()]:
            raise ValueError(f"{path}: {line.split()[0]}: no file {absent[0]}")
        found.setdefault(frame.parent.name, []).append((frame, mask))
    ordered = {name: sorted(pairs, key=lambda pair: natural(pair[0].name)) for name, pairs in found.items()}
    return [Sequence(name, *map(tuple, zip(*pairs, strict=True))) for name, pairs in ordered.items()]


def lonely(frames: Collection[str], masks: Collection[str]) -> str:
    """Frames without a mask and masks without a frame, for the end of a sentence."""
    without = ((in_order(set(frames) - set(masks)), "no mask"), (in_order(set(masks) - set(frames)), "no frame"))
    return "".join(f"; {shown(names)}: {lack}" for names, lack in without if names)


def odd_numbers(sequence: Sequence, truth: UInt8[np.ndarray, "t h w"]) -> list[str]:
    """List what is odd about a sequence's objects: numbers that skip, frames without any."""
    found, objects = [], objects_in(truth[0])
    if objects != list(range(1, len(objects) + 1)):
        found.append(
            f"{sequence.name}: its objects have the numbers {shown(objects)}, which skip some; these alone are scored"
        )
    if empty := [p.name for p, mask in zip(sequence.masks, truth, strict=True) if not objects_in(mask)]:
        found.append(f"{sequence.name}: {len(empty)} masks have no object: {shown(empty)}")
    return found


def odd_frames(data: DAVIS, sequence: Sequence) -> list[str]:
    """List frames that are not as large as their masks or cannot be decoded (`Wrong`). Raises `ValueError` as `truth` does."""
    if not objects_in(data.mask(sequence.masks[0])):
        return [f"{sequence.name}: no object in the first mask {sequence.masks[0].name}; it is not scored"]
    truth = data.truth(sequence)
    (height, width), found = truth.shape[1:], odd_numbers(sequence, truth)
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

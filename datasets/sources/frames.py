"""Numbered pictures with a rate, read as they lie: what a video was cut into, or what a simulator wrote.

    run pretrain=frames pretrain.path=FOLDER pretrain.frames_per_second=30

The last number in a name (`000001.jpg`, `frame_12.png`) is the picture's place in its video: a number that is missing is a missing
frame, after which all the others keep their times. Folders inside the folder are videos of their own. Pictures are decoded when
a clip has them, not before: cuts and blank pictures are not looked for. Where there are cuts, give each shot a folder.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float64, Int, Int32, Int64, UInt8
from torch import Tensor

from longtake.datasets.content import digest_of
from longtake.datasets.folders import is_picture, walk
from longtake.datasets.listing import natural
from longtake.datasets.pictures import UnreadableImage, opened, read_picture
from longtake.datasets.roots import Place, expanded
from longtake.datasets.sources.base import Source

TIE = 1e-6  # seconds
LOOKED_AT = 200  # pictures, spread over all of them, whose headers are read before a run
LAST_NUMBER = re.compile(r"(?<!\d)(\d{1,18})\D*$")  # of 64 bits


class Folder(NamedTuple):
    """The pictures of one video in the order of their numbers."""

    name: str
    paths: list[str]
    numbers: Int64[np.ndarray, "n"]


@dataclass(frozen=True, kw_only=True)
class Frames(Source, name="frames"):
    """The folder `path` of pictures, of which there are `frames_per_second`; both have to be given.

    Pictures are made smaller, to `short_side` pixels, as they are read.
    """

    path: Place | None = None
    frames_per_second: float | None = None
    short_side: int = 360

    def __post_init__(self) -> None:
        if self.short_side < 1:
            raise ValueError(f"pretrain.short_side: got {self.short_side}, expected at least 1 pixel")

    @property
    def label(self) -> str:
        """Own pictures by their folder's name."""
        return f"{self.name}:{self.folder.name}" if self.name == "frames" else self.name

    def digest(self) -> str:
        return digest_of(self.folder, [path for folder in self.folders for path in folder.paths])

    @property
    def folder(self) -> Path:
        """Raises `ValueError` where none is given."""
        if self.path is None:
            raise ValueError(f"pretrain={self.name} needs a folder of numbered pictures: pretrain.path=FOLDER")
        return expanded(self.path).resolve()

    @property
    def rate(self) -> float:
        """Raises `ValueError` where none is given: a folder does not know it."""
        if self.frames_per_second is None or self.frames_per_second <= 0:
            raise ValueError(
                f"pretrain={self.name} needs the rate of its pictures, above 0: got "
                f"pretrain.frames_per_second={self.frames_per_second}, expected 30, for example"
            )
        return self.frames_per_second

    @cached_property
    def folders(self) -> list[Folder]:
        """Raises `ValueError` where there are none."""
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder}: no such folder; expected pictures like 000001.jpg in it")
        found = list(folders_in(self.folder))
        if not found:
            raise ValueError(f"{self.folder}: no picture in it or below; expected some like 000001.jpg")
        return found

    @property
    def collection(self) -> bool:
        return len(self.folders) > 1

    def found(self, num_frames: int) -> str:
        """Raises `ValueError` for pictures that cannot be read, of several sizes in a video, or too few for a clip."""
        store, clip_seconds = self.open(), (num_frames - 1) * self.stride_seconds
        longest = float(store.seconds.max())
        if longest < clip_seconds - TIE:
            raise ValueError(
                f"{self.folder}: {longest:.1f} s of pictures, but one clip lasts {clip_seconds:.1f} s; "
                "use a smaller pretrain.stride_seconds or a smaller method.num_frames"
            )
        sizes = store.sizes(np.unique(np.linspace(0, len(store) - 1, LOOKED_AT).astype(int)))
        size = "various sizes" if len(sizes) > 1 else "{} x {}".format(*sizes.pop())
        return f"{store.summary()}, {size}"

    def stored_frames(self) -> int:
        return sum(len(folder.paths) for folder in self.folders)

    def open(self) -> "FolderStore":
        return FolderStore(self.folders, self.rate, self.short_side)


class FolderStore:
    """The pictures of several folders, each of them one shot. Attributes as `Store`'s."""

    def __init__(self, folders: Sequence[Folder], rate: float, short_side: int) -> None:
        self.short_side = short_side
        self.names = [folder.name for folder in folders]
        self.paths = np.array([path for folder in folders for path in folder.paths])
        self.num_missing = sum(int(np.ptp(folder.numbers)) + 1 - len(folder.numbers) for folder in folders)
        seconds = [(folder.numbers - folder.numbers[0]) / rate for folder in folders]
        self.total_seconds = float(sum(times[-1] for times in seconds))
        self.seconds: Float64[np.ndarray, "n"] = np.concatenate(seconds)
        self.video: Int32[np.ndarray, "n"] = np.repeat(np.arange(len(folders), dtype=np.int32), [*map(len, seconds)])
        self.shot: Int32[np.ndarray, "n"] = np.zeros(len(self.paths), np.int32)
        self.blank: Bool[np.ndarray, "n"] = np.zeros(len(self.paths), bool)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: Sequence[int] | Int[np.ndarray, "t"]) -> UInt8[Tensor, "t 3 h w"]:
        """RGB pictures of one video. Raises `UnreadableImage` for one that cannot be decoded or has another size."""
        paths = [self.paths[int(i)] for i in indices]
        images = [np.asarray(read_picture(path)) for path in paths]
        for path, image in zip(paths, images, strict=True):
            same_size(paths[0], images[0].shape[1::-1], path, image.shape[1::-1])
        height, width = images[0].shape[:2]
        scale = min(1.0, self.short_side / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
        return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2)

    def sizes(self, indices: Int[np.ndarray, "t"]) -> set[tuple[int, int]]:
        """Widths and heights in the headers of these pictures. Raises `UnreadableImage` as `read` does."""
        first: dict[int, tuple[str, tuple[int, int]]] = {}  # of each video
        for path, video in zip(self.paths[indices], self.video[indices].tolist(), strict=True):
            with opened(Path(path)) as image:
                same_size(*first.setdefault(video, (path, image.size)), path, image.size)
        return {size for _, size in first.values()}

    def summary(self) -> str:
        gaps = f", {self.num_missing:,} missing between them" if self.num_missing else ""
        return f"{len(self):,} pictures in {len(self.names)} folder(s), {self.total_seconds / 60:.1f} min{gaps}"


def same_size(first: str, size: tuple[int, ...], other: str, other_size: tuple[int, ...]) -> None:
    """Raise `UnreadableImage` unless two pictures of a video are of one size, (width, height)."""
    if size != other_size:
        sizes = ["{} x {}".format(*pair) for pair in (other_size, size)]
        raise UnreadableImage(f"{other} has {sizes[0]} pixels and {first} {sizes[1]}; expected one size in a folder")


def folders_in(root: Path) -> Iterator[Folder]:
    """The folder and those below it, in natural order, that have pictures. Raises `ValueError` for names that do not count them."""
    for place, below, files in walk(root):
        below.sort(key=natural)
        names = sorted(filter(is_picture, files), key=natural)
        if names:
            name = root.name if Path(place) == root else Path(place).relative_to(root).as_posix()
            yield numbered(name, [os.path.join(place, file) for file in names])


def numbered(name: str, paths: list[str]) -> Folder:
    """Pictures of one folder by their numbers."""
    by_number: dict[int, str] = {}
    for path in paths:
        number = LAST_NUMBER.search(Path(path).stem)
        if number is None:
            raise ValueError(f"{path}: no number in its name; expected one like 000001.jpg")
        other = by_number.setdefault(int(number[1]), path)
        if other != path:
            raise ValueError(f"{other} and {path} have the same number; expected a folder for each video")
    numbers = sorted(by_number)
    return Folder(name, [by_number[number] for number in numbers], np.array(numbers, np.int64))

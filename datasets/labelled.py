"""Labelled images of one split, wherever their pixels lie, and what every set of them can be asked.

A reader (datasets/cifar.py, flowers.py, cars.py, inaturalist.py) turns a set's own files into `LabelledImages`; labels count from 0
whatever the files do.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int, Integer, UInt8
from PIL import Image

from longtake.datasets.findings import undecodable
from longtake.datasets.folders import nearby
from longtake.datasets.oddities import odd_pictures
from longtake.datasets.pictures import read_picture

NAMED = 3  # of the images that are missing


@dataclass(frozen=True)
class LabelledImages(ABC):
    """`items` names every image, the same on every machine; `labels` are indices of `classes`."""

    items: Sequence[str]
    labels: Int[np.ndarray, "n"]
    classes: Sequence[str]

    def __post_init__(self) -> None:
        assert len(self.items) == len(self.labels), (len(self.items), len(self.labels))

    def __len__(self) -> int:
        return len(self.items)

    @abstractmethod
    def image(self, index: int) -> Image.Image:
        """RGB. Raises `UnreadableImage` where it cannot be decoded."""

    def absent(self) -> list[str]:
        """Items that are listed but are not there."""
        return []


@dataclass(frozen=True)
class ArrayImages(LabelledImages):
    """Images in memory."""

    pixels: UInt8[np.ndarray, "m height width 3"]

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])


@dataclass(frozen=True)
class FileImages(LabelledImages):
    """Image files; an item is a path below `root`."""

    root: Path

    def image(self, index: int) -> Image.Image:
        return read_picture(self.root / self.items[index])

    def absent(self) -> list[str]:
        folders = {os.path.dirname(item) for item in self.items}  # listed once each: half a million files in seconds
        there = {folder: set(_names(self.root / folder)) for folder in folders}
        return [item for item in self.items if os.path.basename(item) not in there[os.path.dirname(item)]]


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


@dataclass(frozen=True)
class ImageSet(ABC):
    """A set of labelled images in its official layout under `root`."""

    root: Path

    title: ClassVar[str]
    folder: ClassVar[str]  # the name of the original's, under the data root
    how_to_get: ClassVar[str]
    expected: ClassVar[Mapping[str, int]]  # images of the original's splits

    @abstractmethod
    def needed(self, split: str) -> list[str]:
        """Files and folders below `root` that a split is read from."""

    @abstractmethod
    def open(self, split: str) -> LabelledImages:
        """The images of a split. Raises `ValueError` for files that are not what they should be."""

    def missing(self, splits: Sequence[str]) -> list[str]:
        """List what is missing, where it is expected and how to get it; [] when all splits can be opened. Cheap.

        Raises `ValueError` for a split that does not exist.
        """
        for split in splits:
            if split not in self.expected:
                raise ValueError(f"{self.title}: got split {split!r}, expected one of {', '.join(self.expected)}")
        needed = list(dict.fromkeys(name for split in splits for name in self.needed(split)))
        if not self.root.is_dir():
            return [f"no folder {self.root} (expected {', '.join(needed)} in it). {self.how_to_get}"]
        lacks = [name for name in needed if not (self.root / name).exists()]
        if not lacks:
            return []
        hint = nearby(self.root, lacks[0]) or "."
        return [f"{self.root}: {', '.join(lacks)} missing{hint} {self.how_to_get}"]

    def open_all(self, splits: Sequence[str]) -> list[LabelledImages]:
        """The splits. Raises `ValueError` for what is missing or wrong: files, images that are listed, classes that differ."""
        if missing := self.missing(splits):
            raise ValueError(missing[0])
        opened = [self.open(split) for split in splits]
        for split, images in zip(splits, opened, strict=True):
            if absent := images.absent():
                raise ValueError(
                    f"{self.root}: {len(absent)} of the {len(images)} images of {split} missing: {absent[:NAMED]}"
                )
        if len({tuple(images.classes) for images in opened}) > 1:
            raise ValueError(f"{self.root}: {' and '.join(splits)} list different classes, expected the same")
        return opened

    def validate(self, splits: Sequence[str], progress: bool = False) -> list[str]:
        """List what is odd: numbers of images other than the original's, classes with no image or one, images that are read in a
        way of their own (`odd_pictures`) or are in two splits. `Wrong` are images that cannot be decoded."""
        found, seen = [], dict[str, str]()
        for split, images in zip(splits, self.open_all(splits), strict=True):
            if len(images) != self.expected[split]:
                found.append(f"{split}: {len(images)} images, {self.title} has {self.expected[split]}")
            if empty := sorted(set(range(len(images.classes))) - set(images.labels.tolist())):
                names = [images.classes[label] for label in empty[:NAMED]]
                found.append(f"{split}: {len(empty)} of {len(images.classes)} classes have no image: {names}")
            found += of_one_image(images, split)
            found += [f"{item}: in {split} and in {seen[item]}" for item in images.items if item in seen]
            seen |= dict.fromkeys(images.items, split)
            found += undecodable(images.image, range(len(images)), f"images of {split}", progress)
            found += odd_pictures(_files(images), split)
        return found


def _files(images: LabelledImages) -> Iterator[Path]:
    """The image files; those in memory have none."""
    return (images.root / item for item in images.items) if isinstance(images, FileImages) else iter(())


def of_one_image(images: LabelledImages, split: str) -> list[str]:
    """Say how many classes have one image."""
    counts = np.bincount(images.labels, minlength=len(images.classes))
    names = [images.classes[label] for label in np.flatnonzero(counts == 1).tolist()]
    return [f"{split}: {len(names)} of {len(images.classes)} classes have one image: {names[:NAMED]}"] if names else []


def counted_from(first: int, numbers: Integer[np.ndarray, "n"], num_classes: int, where: Path) -> Int[np.ndarray, "n"]:
    """Class numbers of a file, which counts from `first`, as labels from 0. Raises `ValueError` for one out of range."""
    labels = numbers.astype(np.int64) - first
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"{where}: got class numbers {numbers.min()} to {numbers.max()}, expected {first} to {num_classes - 1 + first}"
        )
    return labels

"""The image sets that encoders are fine-tuned on, by the name of their layout: table 11 of https://arxiv.org/abs/2310.08584."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from longtake.datasets.cars import Cars
from longtake.datasets.cifar import CIFAR10, CIFAR100
from longtake.datasets.content import Content, as_published, content_of, content_of_world
from longtake.datasets.flowers import Flowers
from longtake.datasets.images import content_of_splits, eval_transform, missing_splits, odd_splits, open_splits
from longtake.datasets.inaturalist import INat18
from longtake.datasets.labelled import FileImages, ImageSet, LabelledImages
from longtake.datasets.mini.worlds import WORLDS
from longtake.datasets.roots import expanded

SETS: dict[str, type[ImageSet]] = {
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "flowers": Flowers,
    "cars": Cars,
    "inat18": INat18,
}


def missing_images(layout: str, root: str | None, splits: Sequence[str]) -> list[str]:
    """List what is missing of the splits, where it is expected and how to get it; [] when they can be opened or rendered. Cheap.

    Raises `ValueError` for an unknown layout or split.
    """
    found = _set(layout, root)
    return missing_splits(root, splits) if found is None else found.missing(splits)


def odd_images(layout: str, root: str | None, splits: Sequence[str], progress: bool = False) -> list[str]:
    """List what is odd about images that are there, after looking at every one of them."""
    found = _set(layout, root)
    return odd_splits(root, splits, progress) if found is None else found.validate(splits, progress)


def open_images(
    layout: str, root: str | None, splits: Sequence[str], progress: bool = True
) -> tuple[LabelledImages, ...]:
    """The splits. A procedural world is rendered when it is not there yet.

    Raises `ValueError` for what is missing or wrong: files, labels out of range, images that are listed, classes that differ.
    """
    found = _set(layout, root)
    if found is None:
        folders = open_splits(root, splits, eval_transform(), progress)
        return tuple(FileImages(f.items, np.array(f.targets), f.classes, Path(f.root)) for f in folders)
    return tuple(found.open_all(splits))


def content_of_images(layout: str, root: str | None, splits: Sequence[str]) -> Content:
    """What is in the splits, or a world. For data that `missing_images` accepts."""
    if root in WORLDS:
        return content_of_world(str(root))
    found = _set(layout, root)
    if found is None:
        return content_of_splits(root, splits)
    opened = found.open_all(splits)
    counts = {split: len(images) for split, images in zip(splits, opened, strict=True)}
    pictures = [images.root / item for images in opened if isinstance(images, FileImages) for item in images.items]
    files = [path for split in splits for name in found.needed(split) if (path := found.root / name).is_file()]
    return content_of(found.root, counts, pictures, files, as_published(counts, {found.folder: found.expected}))


def is_rendered(root: str | None) -> bool:
    """Whether the images are a procedural world's."""
    return root in WORLDS


def _set(layout: str, root: str | None) -> ImageSet | None:
    """The set; None is a folder of class folders."""
    if layout == "imagefolder":
        return None
    if layout not in SETS:
        raise ValueError(f"layout: got {layout!r}, expected one of imagefolder, {', '.join(SETS)}")
    if root is None:
        raise ValueError(f"root: got null, expected the folder of {SETS[layout].title}")
    return SETS[layout](expanded(root))

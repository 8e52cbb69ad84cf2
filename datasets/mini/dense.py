"""The mini world as ADE20K and COCO have it: street scenes with the class of every pixel, and with the mask of every object.

The scenes are made as those of `mini_formats.voc_pictures`, of several streets; training and validation pictures show different
streets and objects.
Classes of the segmentation are what the street is made of and the objects (`CLASSES_OF_PIXELS`); pixels where two meet have none.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from longtake.datasets.ade20k import write_ade20k
from longtake.datasets.coco import ImageWithObjects, Mask, write_coco
from longtake.datasets.mini.formats import (
    MIN_VISIBLE,
    VOC_SIZE,
    blocks,
    prepared,
    ticking,
    wider_picture,
)
from longtake.datasets.mini.jobs import in_order
from longtake.datasets.mini.objects import CLASSES
from longtake.datasets.mini.street import STUFF
from longtake.datasets.mini.world import street_of
from longtake.datasets.mini.worlds import SPLITS, World

SIZE = VOC_SIZE
KEY_DENSE = 103  # among the seeds
NUM_STREETS = {"train": 10, "val": 6}  # one alone would be learnt by heart
PER_CLASS = {"train": 4, "val": 2}  # pictures of each street with an object of the class in full view
CLASSES_OF_PIXELS = (*STUFF, *CLASSES)
MIN_PIXELS = 16  # of an object that is annotated
NAMES = {"train": ("training", "train2017"), "val": ("validation", "val2017")}  # of the splits in ADE20K and in COCO


def prepare_ade20k(world: World, root: Path, *, progress: bool = True) -> Path:
    """The folder in ADE20K's layout, rendered unless it is there."""

    def write(folder: Path, pool: ProcessPoolExecutor | None, advance: Callable[[], object]) -> None:
        for split, (name, _) in NAMES.items():
            pairs = ((stem, image, pixels) for stem, image, pixels, _ in ticking(scenes(world, split, pool), advance))
            write_ade20k(folder, name, pairs, len(CLASSES_OF_PIXELS))

    return prepared(world, root, "ade20k", write, sum(map(num_scenes, NAMES)), progress)


def prepare_coco(world: World, root: Path, *, progress: bool = True) -> Path:
    """The folder in COCO's layout, rendered unless it is there."""

    def write(folder: Path, pool: ProcessPoolExecutor | None, advance: Callable[[], object]) -> None:
        for split, (_, name) in NAMES.items():
            pictures = (
                ImageWithObjects(number, image, masks)
                for number, (_, image, _, masks) in enumerate(ticking(scenes(world, split, pool), advance), 1)
            )
            write_coco(folder, name, pictures, dict(enumerate(CLASSES, 1)))

    return prepared(world, root, "coco", write, sum(map(num_scenes, NAMES)), progress)


LabelledScene = tuple[str, np.ndarray, np.ndarray, list[Mask]]  # name, image, class of every pixel (255: none), objects


def num_scenes(split: str) -> int:
    return NUM_STREETS[split] * PER_CLASS[split] * len(CLASSES)


def scenes(world: World, split: str, pool: ProcessPoolExecutor | None = None) -> Iterator[LabelledScene]:
    """All pictures of a split, street by street and class by class."""
    tasks = [(world, split, street, index) for street in range(NUM_STREETS[split]) for index in range(len(CLASSES))]
    return chain.from_iterable(in_order(pool, _of_class, tasks))


def _of_class(task: tuple[World, str, int, int]) -> list[LabelledScene]:
    """The pictures of a class in one street."""
    world, split, number, class_index = task
    key, count = SPLITS.index("test" if split == "val" else split), PER_CLASS[split]
    street = street_of(world, key, number)
    return [
        _scene(
            f"{split}_{CLASSES[class_index]}_{n:04d}", street, [world.seed, KEY_DENSE, key, class_index, n], class_index
        )
        for n in range(number * count, (number + 1) * count)
    ]


def _scene(name: str, street: object, seed: list[int], class_index: int) -> LabelledScene:
    rendered = wider_picture(street, seed, class_index)  # type: ignore[arg-type]
    image = cv2.resize(rendered.image, SIZE[::-1], interpolation=cv2.INTER_AREA)
    ids, semantic = blocks(rendered.ids), blocks(rendered.semantic.astype(np.int64))
    pixels = np.where((semantic == semantic[..., :1]).all(-1), semantic[..., 0], 255).astype(np.uint8)
    masks = []
    for seen in rendered.objects:
        mask = _majority(ids, seen.instance)
        if seen.visible >= MIN_VISIBLE and mask.sum() >= MIN_PIXELS:
            masks.append(Mask(seen.class_index + 1, mask))
    return name, image, pixels, masks


def _majority(ids: np.ndarray, instance: int) -> UInt8[np.ndarray, "h w"]:
    """Pixels of which at least half are the object's."""
    return ((ids == instance).mean(-1) >= 0.5).astype(np.uint8)

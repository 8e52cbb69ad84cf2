"""COCO's instances on disk; and a writer of the same layout.

    coco/annotations/instances_train2017.json, instances_val2017.json
    coco/train2017/000000000001.jpg, coco/val2017/...

Known of the original: 118 287 and 5 000 images, 80 classes with numbers from 1 to 90; images without objects are left out of
training (117 266 remain that are large enough). Annotation tools write the same files with other habits, which are read, too:
images in subfolders, ids from 0, no `iscrowd` or `area`, categories in any order (classes are numbered by the categories' ids).
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from longtake.datasets.annotations import below, read_json
from longtake.datasets.coco_rows import (
    KEYS,
    check_numbers,
    completed,
    empty_objects,
    out_of_order,
    refuse_rows,
    refuse_segmentations,
)
from longtake.datasets.findings import looked_at
from longtake.datasets.folders import nearby
from longtake.datasets.oddities import odd_pictures
from longtake.datasets.pictures import read_picture

HOW_TO_GET = (
    "COCO 2017: train2017.zip, val2017.zip and annotations_trainval2017.zip (images.cocodataset.org) under the data root; "
    "or root=FOLDER"
)
EXPECTED = {"train2017": 118_287, "val2017": 5_000}


Look = Callable[["COCO", str, dict[str, Any]], None]


def nothing_more(data: "COCO", split: str, content: dict[str, Any]) -> None:
    """Accept any annotations that fit."""


@dataclass(frozen=True)
class COCO:
    """A folder `coco`."""

    root: Path

    def annotation_file(self, split: str) -> Path:
        return self.root / "annotations" / f"instances_{split}.json"

    def images(self, split: str) -> Path:
        return self.root / split

    def check(self, splits: Sequence[str], look: Look = nothing_more) -> list[str]:
        """List what is missing; [] when the splits can be read. Raises `ValueError` for annotations that do not fit.

        `look` is called with each split and its annotations, which fit.
        """
        if not self.root.is_dir():
            return [f"no folder {self.root} (expected annotations, train2017, val2017 in it). {HOW_TO_GET}"]
        if not (self.root / "annotations").is_dir():
            hint = nearby(self.root, "annotations")
            raise ValueError(f"{self.root}: no annotations in it, expected the folder coco itself{hint}")
        contents = {split: self.read(split) for split in splits}
        if len({json.dumps(self._check_split(split, content)) for split, content in contents.items()}) > 1:
            raise ValueError(f"{self.root}: {' and '.join(splits)} list different categories, expected the same")
        for split, content in contents.items():
            look(self, split, content)
        return []

    def _check_split(self, split: str, content: dict[str, Any]) -> list[tuple[int, str]]:
        """Numbers and names of the classes."""
        place = self.annotation_file(split)
        for kind, keys in KEYS.items():
            for item in content[kind]:
                if lacks := [key for key in keys if item.get(key) in (None, [], "")]:
                    raise ValueError(f"{place}: {kind} {item.get('id')} has no {', '.join(lacks)}")
        check_numbers(content, place)
        refuse_segmentations(content["annotations"], place)
        if absent := absent_below(self.images(split), [image["file_name"] for image in content["images"]]):
            raise ValueError(f"{place}: {len(absent)} of {len(content['images'])} images missing: {absent[:3]}")
        images, classes = ({item["id"] for item in content[key]} for key in ("images", "categories"))
        for annotation in content["annotations"]:
            if annotation["image_id"] not in images or annotation["category_id"] not in classes:
                raise ValueError(
                    f"{place}: annotation {annotation['id']} has image {annotation['image_id']} and category "
                    f"{annotation['category_id']}, expected numbers that are listed"
                )
        return [(item["id"], item["name"]) for item in content["categories"]]

    def read(self, split: str) -> dict[str, Any]:
        """The annotations, `completed`. Raises `ValueError` for a file that is missing, not JSON, or has none."""
        content = read_json(self.annotation_file(split), list(KEYS))
        if absent := [key for key in KEYS if not content[key]]:
            raise ValueError(f"{self.annotation_file(split)}: no {', '.join(absent)} in it, expected {', '.join(KEYS)}")
        refuse_rows(content, self.annotation_file(split))
        return completed(content, self.annotation_file(split))

    def validate(self, splits: Sequence[str], progress: bool = False) -> list[str]:
        """List what is odd: another number of images than the original's, other sizes, boxes out of the image, ids twice,
        `odd_habits`. `Wrong` are images that cannot be decoded."""
        found = []
        for split in splits:
            content = self.read(split)
            if EXPECTED.get(split) not in (None, len(content["images"])):
                found.append(f"{split}: {len(content['images'])} images, the original has {EXPECTED[split]}")
            for key in ("images", "annotations"):
                if len({item["id"] for item in content[key]}) < len(content[key]):
                    found.append(f"{split}: an id of {key} is there twice")
            found += self.odd_habits(split, content)
            sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
            found += looked_at(partial(odd_size, self, split), content["images"], f"images of {split}", progress)
            for annotation in content["annotations"]:
                x, y, w, h = annotation["bbox"]
                width, height = sizes[annotation["image_id"]]
                if x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1:
                    found.append(f"{split}: the box of annotation {annotation['id']} reaches beyond its image")
        return found

    def odd_habits(self, split: str, content: Mapping[str, Any]) -> list[str]:
        """List how a file differs from the original's habits, which is read all the same."""
        listed = read_json(self.annotation_file(split), ["categories"])["categories"]
        return [
            *out_of_order(split, listed),
            *empty_objects(split, content["annotations"]),
            *odd_pictures((self.images(split) / image["file_name"] for image in content["images"]), split),
        ]


def absent_below(folder: Path, names: Sequence[str]) -> list[str]:
    """Files, below `folder` at any depth, that are not there. Raises `ValueError` for a name that leads out of it."""
    folders = {os.path.dirname(name) for name in below(names, folder)}  # listed once each
    there = {place: set(os.listdir(folder / place)) if (folder / place).is_dir() else set() for place in folders}
    return [name for name in names if os.path.basename(name) not in there[os.path.dirname(name)]]


def odd_size(data: COCO, split: str, image: Mapping[str, Any]) -> list[str]:
    """Say that a picture is not as large as its annotation says. Raises `UnreadableImage` for one that cannot be decoded."""
    size = read_picture(data.images(split) / image["file_name"]).size
    if size == (image["width"], image["height"]):
        return []
    return [f"{split}/{image['file_name']}: not as large as its annotation says"]


def classes_of(content: Mapping[str, Any]) -> dict[int, str]:
    """Number and name of each class of annotations that were read, by number."""
    return {c["id"]: c["name"] for c in sorted(content["categories"], key=lambda c: c["id"])}


class Mask(NamedTuple):
    """An object: the number of its class, and its pixels (1)."""

    category_id: int
    pixels: UInt8[np.ndarray, "h w"]


class ImageWithObjects(NamedTuple):
    """An image with its objects, to be written."""

    number: int
    image: UInt8[np.ndarray, "h w 3"]
    objects: Sequence[Mask]


def write_coco(root: Path, split: str, images: Iterable[ImageWithObjects], classes: Mapping[int, str]) -> COCO:
    """Write a split in the official layout; masks become uncompressed run lengths."""
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    listed: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image, objects in images:
        height, width = image.shape[:2]
        name = f"{number:012d}.jpg"
        Image.fromarray(image).save(root / split / name, quality=95)
        listed.append({"id": number, "file_name": name, "height": height, "width": width})
        for category_id, pixels in objects:
            about = {"id": len(annotations) + 1, "image_id": number, "category_id": category_id, "iscrowd": 0}
            segmentation = {"size": [height, width], "counts": run_lengths(pixels)}
            area, bbox = int(pixels.sum()), box_of(pixels)
            annotations.append({**about, "segmentation": segmentation, "area": area, "bbox": bbox})
    categories = [{"id": number, "name": name} for number, name in classes.items()]
    content = {"images": listed, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return COCO(root)


def run_lengths(pixels: UInt8[np.ndarray, "h w"]) -> list[int]:
    """Lengths of the runs of 0, 1, 0, ... column by column."""
    flat = np.concatenate([[0], pixels.T.ravel() != 0, [0]])
    changes = np.flatnonzero(np.diff(flat.astype(np.int8)))
    ends = np.concatenate([[0], changes, [pixels.size]])
    lengths = np.diff(ends)
    return lengths[:-1].tolist() if lengths[-1] == 0 else lengths.tolist()


def box_of(pixels: UInt8[np.ndarray, "h w"]) -> list[int]:
    """x, y, width, height of the pixels that are not 0."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]

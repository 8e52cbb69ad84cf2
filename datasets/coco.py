"""COCO's instances on disk; and a writer of the same layout.

    coco/annotations/instances_train2017.json, instances_val2017.json
    coco/train2017/000000000001.jpg, coco/val2017/...

Known of the original: 118 287 and 5 000 images, 80 classes with numbers from 1 to 90; images without objects are left out of
training (117 266 remain that are large enough). Annotation tools write the same files with other habits, which are read, too:
images in subfolders, ids from 0, no `iscrowd` or `area`, categories in any order (classes are numbered by the categories' ids).
"""

import importlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from longtake.datasets.annotations import read_json, rows_of
from longtake.datasets.findings import looked_at
from longtake.datasets.folders import nearby
from longtake.datasets.listing import shown
from longtake.datasets.oddities import odd_pictures
from longtake.datasets.pictures import read_picture

HOW_TO_GET = (
    "COCO 2017: train2017.zip, val2017.zip and annotations_trainval2017.zip (images.cocodataset.org) under the data root; "
    "or root=FOLDER"
)
EXPECTED = {"train2017": 118_287, "val2017": 5_000}
KEYS = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox", "segmentation"),
    "categories": ("id", "name"),
}


Look = Callable[["COCO", str, dict[str, Any]], None]


def nothing_more(data: "COCO", split: str, content: dict[str, Any]) -> None:
    """Accept any annotations that fit."""


LARGEST_PIXEL = 1 << 24  # beyond any picture; a larger number is none that somebody has measured


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
            found += without_area(content["annotations"], split)
        return found

    def odd_habits(self, split: str, content: Mapping[str, Any]) -> list[str]:
        """List how a file differs from the original's habits, which is read all the same."""
        listed = read_json(self.annotation_file(split), ["categories"])["categories"]
        return [
            *out_of_order(split, listed),
            *empty_objects(split, content["annotations"]),
            *odd_pictures((self.images(split) / image["file_name"] for image in content["images"]), split),
        ]


def check_numbers(content: Mapping[str, Any], place: Path) -> None:
    """Raise `ValueError` for images or categories that cannot be told apart: an id or a name twice."""
    for kind, key in (("images", "id"), ("images", "file_name"), ("categories", "id"), ("categories", "name")):
        values = [item[key] for item in content[kind]]
        if len(set(map(json.dumps, values))) < len(values):
            twice = next(value for i, value in enumerate(values) if value in values[:i])
            raise ValueError(f"{place}: two of the {kind} have the {key} {twice!r}, expected each once")


def absent_below(folder: Path, names: Sequence[str]) -> list[str]:
    """Files, below `folder` at any depth, that are not there. Raises `ValueError` for a name that leads out of it."""
    if outside := [name for name in names if os.path.isabs(name) or ".." in Path(name).parts]:
        raise ValueError(f"{folder}: got file_name {outside[0]!r}, expected one below the folder")
    folders = {os.path.dirname(name) for name in names}  # listed once each
    there = {below: set(os.listdir(folder / below)) if (folder / below).is_dir() else set() for below in folders}
    return [name for name in names if os.path.basename(name) not in there[os.path.dirname(name)]]


def refuse_rows(content: Mapping[str, Any], place: Path) -> None:
    """Raise `ValueError` for lists of anything but objects, ids that are no numbers, names and sizes that are none."""
    for kind in KEYS:
        for row in rows_of(content, kind, {}, place):
            if lacks := [key for key, what in TYPES.items() if key in row and not is_a(row[key], what)]:
                raise ValueError(
                    f"{place}: {kind} {str(row.get('id'))[:20]} has the {lacks[0]} {str(row[lacks[0]])[:40]!r}, expected "
                    f"{TYPES[lacks[0]]}"
                )
        if len({type(row.get("id")) for row in content[kind]}) > 1:
            raise ValueError(f"{place}: the ids of {kind} are numbers and texts, expected one kind")


def is_a(value: Any, what: str) -> bool:
    """Whether a value is what TYPES asks for; what is empty is missing, which is said elsewhere."""
    if value in (None, [], "") or what == BOX:
        return not value or (isinstance(value, list) and len(value) == 4 and all(map(is_pixel, value)))
    if what == NUMBER:
        return is_pixel(value)
    if what == AREA:
        return type(value) in (int, float, bool) and math.isfinite(value)
    named = isinstance(value, str) and "\0" not in value and len(value) <= LONGEST_NAME
    return named or (what == ID and type(value) is int)


def is_pixel(value: Any) -> bool:
    """Whether a value is a number that a pixel can have."""
    return type(value) in (int, float) and abs(value) <= LARGEST_PIXEL


BOX, NUMBER = "four numbers of pixels: x, y, width, height", "a number of pixels"
ID, NAME, AREA = "a whole number", "a name", "a finite number"
LONGEST_NAME = 1000
TYPES = {
    "id": ID, "image_id": ID, "category_id": ID, "width": NUMBER, "height": NUMBER, "bbox": BOX, "area": AREA, "iscrowd": AREA,
    "file_name": NAME, "name": NAME,
}  # fmt: skip


def refuse_segmentations(annotations: Iterable[Mapping[str, Any]], place: Path) -> None:
    """Raise `ValueError` for a mask that is neither polygons nor run lengths: what draws it writes beside its memory."""
    for annotation in annotations:
        if not is_segmentation(annotation["segmentation"]):
            raise ValueError(
                f"{place}: the segmentation of annotation {annotation['id']} is {str(annotation['segmentation'])[:60]}, expected "
                "polygons of three corners or more, or run lengths that fill the image"
            )


def is_segmentation(found: Any) -> bool:
    """Whether this is a list of polygons, [x0, y0, x1, y1, ...], or {size, counts}."""
    if isinstance(found, list):
        try:
            return all(len(p) >= 6 and len(p) % 2 == 0 and max(map(abs, p)) <= LARGEST_PIXEL for p in found)
        except TypeError:
            return False
    if not isinstance(found, dict):
        return False
    size, counts = found.get("size"), found.get("counts")
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(type(side) is int and 0 < side < 1 << 16 for side in size)
    ):
        return False
    lengths = run_lengths_of(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or not all(type(n) is int and n >= 0 for n in lengths):
        return False
    return sum(lengths) == size[0] * size[1]


def run_lengths_of(text: str) -> list[int]:
    """The lengths that COCO's compressed text says (rleFrString of its API: 5 bits a character, differences from the third on)."""
    lengths: list[int] = []
    place = 0
    while place < len(text):
        value = shift = 0
        more = True
        while more and place < len(text):
            bits = ord(text[place]) - 48
            value |= (bits & 0x1F) << shift
            more, place, shift = bool(bits & 0x20), place + 1, shift + 5
            if not more and bits & 0x10:
                value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
    return lengths


def odd_size(data: COCO, split: str, image: Mapping[str, Any]) -> list[str]:
    """Say that a picture is not as large as its annotation says. Raises `UnreadableImage` for one that cannot be decoded."""
    size = read_picture(data.images(split) / image["file_name"]).size
    if size == (image["width"], image["height"]):
        return []
    return [f"{split}/{image['file_name']}: not as large as its annotation says"]


def without_area(annotations: Iterable[Mapping[str, Any]], split: str) -> list[str]:
    """List boxes that are empty."""
    empty = (annotation["id"] for annotation in annotations if not min(annotation["bbox"][2:]) > 0)
    return [f"{split}: the box of annotation {number} has no area" for number in empty]


def classes_of(content: Mapping[str, Any]) -> dict[int, str]:
    """Number and name of each class of annotations that were read, by number."""
    return {c["id"]: c["name"] for c in sorted(content["categories"], key=lambda c: c["id"])}


def completed(content: Mapping[str, Any], place: object = "annotations") -> dict[str, Any]:
    """Annotations with `iscrowd` and `area` where a tool left them out (0, and the area of the mask or box), categories by their
    ids.

    The content itself is left as it is. Raises `ValueError`, which begins with `place`, for a mask that is none.
    """
    for kind in KEYS:
        if not all(isinstance(item, dict) for item in content[kind]):
            raise ValueError(f"{place}: {kind} has an entry that is no object")
    sizes = {image.get("id"): (image.get("height"), image.get("width")) for image in content["images"]}
    annotations = [
        {**a, "iscrowd": a.get("iscrowd") or 0, "area": area_of(a, sizes, place)} for a in content["annotations"]
    ]
    try:
        categories = sorted(content["categories"], key=lambda c: c["id"])
    except (KeyError, TypeError):  # `check` says so
        categories = content["categories"]
    return {**content, "annotations": annotations, "categories": categories}


def area_of(annotation: Mapping[str, Any], sizes: Mapping[Any, tuple[int, int]], place: object) -> float:
    """The area that an annotation says, or that of its mask, or of its box."""
    if annotation.get("area") is not None:
        return annotation["area"]
    try:
        if annotation.get("segmentation"):
            return mask_area(annotation["segmentation"], *sizes[annotation["image_id"]])
        _, _, width, height = annotation["bbox"]
        return width * height
    except Exception as error:  # pycocotools raises nothing more special
        raise ValueError(
            f"{place}: annotation {annotation.get('id')} has neither an area nor a mask or box that tells it"
        ) from error


def mask_area(segmentation: Any, height: int, width: int) -> int:
    """Pixels of polygons or run lengths, as pycocotools counts them."""
    masks = importlib.import_module("pycocotools.mask")
    if isinstance(segmentation, list):
        return int(masks.area(masks.merge(masks.frPyObjects(segmentation, height, width))))
    if isinstance(segmentation["counts"], list):
        return int(masks.area(masks.frPyObjects(segmentation, height, width)))
    return int(masks.area(segmentation))


def out_of_order(split: str, categories: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line where the categories do not stand in the order of their ids."""
    ids = [category["id"] for category in categories]
    if ids == sorted(ids):
        return []
    return [f"{split}: the categories stand in the order {shown(ids)}; classes are numbered by id"]


def empty_objects(split: str, annotations: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line on annotations whose mask or box has no area."""
    empty = [a["id"] for a in annotations if a["area"] <= 0 or min(a["bbox"][2:]) <= 0]
    return [f"{split}: {len(empty)} annotations have an empty mask or box: {shown(empty)}"] if empty else []


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

"""The rows of COCO's annotations: what each has to be, and what annotation tools leave out or write in their own way."""

import importlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from longtake.datasets.annotations import LARGEST_PIXEL, rows_of
from longtake.datasets.listing import shown

KEYS = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox", "segmentation"),
    "categories": ("id", "name"),
}


def check_numbers(content: Mapping[str, Any], place: Path) -> None:
    """Raise `ValueError` for images or categories that cannot be told apart: an id or a name twice."""
    for kind, key in (("images", "id"), ("images", "file_name"), ("categories", "id"), ("categories", "name")):
        values = [item[key] for item in content[kind]]
        if len(set(map(json.dumps, values))) < len(values):
            twice = next(value for i, value in enumerate(values) if value in values[:i])
            raise ValueError(f"{place}: two of the {kind} have the {key} {twice!r}, expected each once")


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
    if annotation.get("area") not in (None, [], ""):  # what is empty is missing (`is_a`)
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

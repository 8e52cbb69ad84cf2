"""The XML files of Pascal VOC: boxes and classes of an image's objects."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from longtake.datasets.annotations import LARGEST_PIXEL


class Boxes(NamedTuple):
    """The objects of an image, read from its XML file. Boxes are x0, y0, x1, y1 in pixels from 0, ends exclusive."""

    boxes: Int[np.ndarray, "n 4"]
    classes: list[str]


class NoObject(ValueError):
    """An annotation without an object."""


def read_boxes(path: Path, hard: bool = True) -> Boxes:
    """See `VOC.boxes`. LOST's datasets.py: 1 is subtracted from the minima, the maxima stay, so that ends are exclusive."""
    if not path.is_file():
        raise ValueError(f"{path}: no such annotation")
    try:
        objects = ET.parse(path).getroot().findall("object")
    except ET.ParseError as error:
        raise ValueError(f"{path}: not XML ({error})") from error
    if not objects:
        raise NoObject(f"{path}: no object in it; expected one <object> or more")
    kept = [o for o in objects if hard or not any(o.findtext(flag) == "1" for flag in ("truncated", "difficult"))]
    boxes = [[pixel_of(o, key, path) for key in CORNERS] for o in kept]
    corners = np.array(boxes, np.int64).reshape(-1, 4) - np.array([1, 1, 0, 0])
    return Boxes(corners, [o.findtext("name") or "" for o in kept])


CORNERS = ("xmin", "ymin", "xmax", "ymax")


def pixel_of(element: ET.Element, key: str, path: Path) -> int:
    """A corner of an object's box. Raises `ValueError` for one that is missing, or no number of a pixel."""
    text = element.findtext(f"bndbox/{key}")
    try:
        value = float(text or "nan")
    except ValueError:
        value = float("nan")
    if not abs(value) <= LARGEST_PIXEL:
        raise ValueError(f"{path}: got {key} {text!r} of {element.findtext('name')!r}, expected the number of a pixel")
    return round(value)

"""Pascal VOC on disk: image lists, boxes from the XML files, segmentation masks; and a writer of the same layout.

    VOC2012/JPEGImages/2008_000001.jpg
    VOC2012/Annotations/2008_000001.xml
    VOC2012/ImageSets/{Main,Segmentation}/{train,val,trainval}.txt
    VOC2012/SegmentationClass/2008_000001.png       palette; 0 background, 255 void

Known of the originals: Main/trainval 2012 has 11 540 images, Segmentation/val 1 449; images of 2007 are in the segmentation lists
only; boxes count pixels from 1, both ends inclusive.
"""

import contextlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from longtake.datasets.annotations import below
from longtake.datasets.findings import looked_at, undecodable
from longtake.datasets.folders import nearby, read_names
from longtake.datasets.listing import once, picture_named
from longtake.datasets.oddities import empty_masks, odd_pictures
from longtake.datasets.palette import PALETTE
from longtake.datasets.pictures import mask_numbers, opened, read_picture
from longtake.datasets.voc_boxes import CORNERS, Boxes, read_boxes

VOID = 255
# Behind a name in the lists of one class: 1 it is there, -1 it is not, 0 it is difficult.
FLAG = re.compile(r"\s+(-1|0|1)$")
HOW_TO_GET = (
    "Pascal VOC: VOCtrainval_11-May-2012.tar (2012), VOCtrainval_06-Nov-2007.tar (2007) from host.robots.ox.ac.uk/pascal/VOC, "
    "unpacked under the data root; root=FOLDER names another place"
)
# Images of the originals' lists, from the development kits' documentation.
EXPECTED = {
    ("VOC2012", "Main/trainval"): 11_540,
    ("VOC2012", "Segmentation/train"): 1_464,
    ("VOC2012", "Segmentation/val"): 1_449,
    ("VOC2007", "Main/trainval"): 5_011,
    ("VOC2007", "Segmentation/val"): 213,
}


@dataclass(frozen=True)
class VOC:
    """A folder `VOC2012` (or `VOC2007`, or any other in their layout)."""

    root: Path
    num_classes: int = 21  # the background among them

    def check(self, lists: Sequence[str]) -> list[str]:
        """List what is missing of the image lists (`Main/trainval`) and their files; [] when all can be read.

        Raises `ValueError` when the folder is there but is not of this layout, or has fewer images than listed.
        """
        if not self.root.is_dir():
            return [f"no folder {self.root} (expected JPEGImages, Annotations, ImageSets in it). {HOW_TO_GET}"]
        if not (self.root / "JPEGImages").is_dir():
            hint = nearby(self.root, "JPEGImages")
            raise ValueError(f"{self.root}: no JPEGImages in it, expected the folder VOC2012 itself{hint}")
        for name in lists:
            names = self.names(name)
            missing = [n for n in names if not self.image(n).is_file()]
            if missing:
                raise ValueError(f"{self.root}: {len(missing)} of {len(names)} images of {name} missing: {missing[:3]}")
            masked = names if name.startswith("Segmentation") else []
            if lonely := [n for n in masked if not self.mask_file(n).is_file()]:
                raise ValueError(
                    f"{self.root}: {len(lonely)} of {len(names)} images of {name} have no mask: {lonely[:3]}"
                )
        return []

    def validate(self, lists: Sequence[str], progress: bool = False) -> list[str]:
        """List what is odd: lists of another length than the original's, boxes that do not fit, masks without an object.

        `Wrong` are images and masks that cannot be decoded, annotations that cannot be read, masks of another size.
        """
        found = []
        for image_list in lists:
            names = self.names(image_list)
            expected = EXPECTED.get((self.root.name, image_list))
            if expected not in (None, len(names)):
                found.append(f"{image_list}: {len(names)} images, the original has {expected}")
            if image_list.startswith("Segmentation"):
                found += undecodable(partial(check_mask, self), names, f"masks of {image_list}", progress)
                found += without_void(self, names, image_list)
                found += empty_masks(map(self.mask_file, names), image_list)
            found += odd_pictures(map(self.image, names), image_list)
        every = list(dict.fromkeys(name for image_list in lists for name in self.names(image_list)))
        return found + looked_at(partial(odd_boxes, self), every, "images and boxes", progress)

    def names(self, image_list: str) -> list[str]:
        """Names in `ImageSets/<image_list>.txt`. Raises `ValueError` when it is not there, empty, or has a name twice."""
        path = self.root / "ImageSets" / f"{image_list}.txt"
        if not path.is_file():
            raise ValueError(f"{path}: no such image list")
        names = [FLAG.sub("", line.strip()) for line in read_names(path).splitlines() if line.strip()]
        return below(once(names, path), path)

    def image(self, name: str) -> Path:
        return picture_named(self.root / "JPEGImages" / name, ".jpg")

    def mask_file(self, name: str) -> Path:
        return self.root / "SegmentationClass" / f"{name}.png"

    def boxes(self, name: str, hard: bool = True) -> Boxes:
        """All objects of an image; without `hard` those that are neither truncated nor difficult.

        Raises `ValueError` for a file that is missing or not XML, `NoObject` for one without objects.
        """
        return read_boxes(self.root / "Annotations" / f"{name}.xml", hard)

    def mask(self, name: str) -> UInt8[np.ndarray, "h w"]:
        """Class of every pixel, 0 background, 255 void. Raises `ValueError` for anything but a palette or grey image."""
        path = self.mask_file(name)
        if not path.is_file():
            raise ValueError(f"{path}: no such mask")
        with opened(path) as image:
            return mask_numbers(image, path, "class numbers")


def odd_boxes(voc: VOC, name: str) -> list[str]:
    """List boxes of an image that reach beyond it, or are empty. Raises `ValueError` for what cannot be read."""
    width, height = read_picture(voc.image(name)).size
    boxes, found = voc.boxes(name).boxes, []
    if (boxes < 0).any() or (boxes > [width, height, width, height]).any():
        found.append(f"{name}: a box reaches beyond the image of {width} x {height}")
    if (boxes[:, 2:] <= boxes[:, :2]).any():
        found.append(f"{name}: a box has no area")
    return found


def check_mask(voc: VOC, name: str) -> None:
    """Raise `ValueError` for a mask that cannot be read, or not be paired with its image."""
    with opened(voc.image(name)) as image:
        width, height = image.size
    mask = voc.mask(name)
    if mask.shape != (height, width):
        raise ValueError(f"{name}: the mask is not as large as the image")


def without_void(voc: VOC, names: Iterable[str], image_list: str) -> list[str]:
    """Say that no mask has a void pixel, where that is so."""
    for name in names:
        with contextlib.suppress(ValueError):  # said already
            if VOID in voc.mask(name):
                return []
    return [f"{image_list}: no mask has a void pixel ({VOID}), the original's objects have borders of them"]


@dataclass(frozen=True)
class Annotated:
    """An image with its truth, to be written. Boxes as in `Boxes`; `mask` None writes no segmentation."""

    name: str
    image: UInt8[np.ndarray, "h w 3"]
    boxes: Int[np.ndarray, "n 4"]
    classes: Sequence[str]
    mask: UInt8[np.ndarray, "h w"] | None = None
    truncated: Sequence[bool] = ()
    difficult: Sequence[bool] = ()
    lists: Sequence[str] = ("Main/trainval", "Segmentation/val")  # that it is a member of


def write_voc(root: Path, images: Iterable[Annotated], num_classes: int = 21) -> VOC:
    """Write images in the official layout; those without a mask are in no segmentation list."""
    names: dict[str, list[str]] = {}
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for item in images:
        Image.fromarray(item.image).save(root / "JPEGImages" / f"{item.name}.jpg", quality=95)
        (root / "Annotations" / f"{item.name}.xml").write_bytes(_xml(item))
        if item.mask is not None:
            mask = Image.fromarray(item.mask, "P")
            mask.putpalette(PALETTE.tobytes())
            mask.save(root / "SegmentationClass" / f"{item.name}.png")
        for image_list in item.lists:
            if item.mask is not None or not image_list.startswith("Segmentation"):
                names.setdefault(image_list, []).append(item.name)
    for name, members in names.items():
        (root / "ImageSets" / f"{name}.txt").write_text("".join(f"{member}\n" for member in members))
    return VOC(root, num_classes)


def _xml(item: Annotated) -> bytes:
    root = ET.Element("annotation")
    ET.SubElement(root, "filename").text = f"{item.name}.jpg"
    size = ET.SubElement(root, "size")
    for key, value in zip(("height", "width", "depth"), item.image.shape, strict=True):
        ET.SubElement(size, key).text = str(value)
    for i, (box, name) in enumerate(zip(item.boxes.tolist(), item.classes, strict=True)):
        element = ET.SubElement(root, "object")
        ET.SubElement(element, "name").text = name
        for key, flags in (("truncated", item.truncated), ("difficult", item.difficult)):
            ET.SubElement(element, key).text = str(int(flags[i])) if flags else "0"
        corners = ET.SubElement(element, "bndbox")
        for key, value, first in zip(CORNERS, box, (1, 1, 0, 0), strict=True):
            ET.SubElement(corners, key).text = str(value + first)
    return ET.tostring(root)

"""The one reader of picture files, for training, scoring and galleries alike, and ImageNet's normalisation."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from struct import error as StructError
from typing import BinaryIO

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB in [0, 1]; torchvision's reference training and DINO's eval_knn.py
IMAGENET_STD = (0.229, 0.224, 0.225)
# What a picture file's name ends in: torchvision's IMG_EXTENSIONS (tested), without importing it.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
# Pillow warns above it and refuses twice as many pixels, a file that would unpack into all memory. Its own limit, 89 million, is
# below pictures that people have (scans, panoramas); twice this one is OpenCV's (CV_IO_MAX_IMAGE_PIXELS, 2^30).
Image.MAX_IMAGE_PIXELS = 1 << 29
# What Pillow raises for files that are missing, cut, broken or too large, beside ValueError: it depends on the byte.
UNREADABLE = (
    OSError, SyntaxError, EOFError, StructError, LookupError, ArithmeticError, TypeError, MemoryError, Image.DecompressionBombError,
)  # fmt: skip


class UnreadableImage(ValueError):
    """An image file that cannot be decoded; the message names it."""

    def __init__(self, message: str) -> None:
        # A DataLoader re-raises a worker's error with the whole traceback as its message; the line itself is the last.
        super().__init__(message.strip().rpartition(f"{type(self).__name__}: ")[2])


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file, for its header or its own numbers. Raises `UnreadableImage` where it cannot be decoded inside the block."""
    try:
        with Image.open(path) as image:
            yield image
    except UNREADABLE as error:
        raise UnreadableImage(f"cannot read the image {path}: {error}") from error
    except ValueError as error:
        if str(path) in str(error):  # the block's own
            raise
        raise UnreadableImage(f"cannot read the image {path}: {error}") from error


def read_picture(path: str | Path) -> Image.Image:
    """A picture file as RGB. Raises `UnreadableImage` where it cannot be decoded."""
    try:
        with open(path, "rb") as file:
            return Image.open(whole_picture(file)).convert("RGB")
    except (*UNREADABLE, ValueError) as error:
        raise UnreadableImage(f"cannot read the image {path}: {error}") from error


def read_levels(path: str | Path) -> UInt8[np.ndarray, "h w 3"]:
    """A picture file as an array, RGB. Raises `UnreadableImage` where it cannot be decoded."""
    return np.array(read_picture(path))


def read_rgb(path: str | Path) -> UInt8[Tensor, "3 h w"]:
    """A picture file as RGB. Raises `UnreadableImage` where it cannot be decoded."""
    from torchvision.transforms.v2.functional import (
        pil_to_tensor,  # here: it takes a second, and a plan reads no picture
    )

    return pil_to_tensor(read_picture(path))


JPEG_BEGINS, SCAN_BEGINS, JPEG_ENDS = b"\xff\xd8\xff", 0xDA, b"\xff\xd9"


def whole_picture(file: BinaryIO) -> BinaryIO:
    """The file, from its beginning. Raises `OSError` for a JPEG that ends before its pixels do.

    Decoders fill up what is missing with grey, and say nothing where a broken download has left zeros instead.
    """
    if file.read(3) == JPEG_BEGINS:
        file.seek(-2, os.SEEK_END)
        if file.read() != JPEG_ENDS:  # bytes may follow the end, such as a phone's second picture
            file.seek(0)
            if not _has_end(file.read()):
                raise OSError("the file is cut: there is no end of a JPEG in it")
    file.seek(0)
    return file


def _has_end(content: bytes) -> bool:
    """Whether a JPEG's end follows the beginning of its pixels: a small picture in the headers has an end of its own."""
    place = 2
    while content[place : place + 1] == b"\xff" and content[place + 1 : place + 2] != bytes([SCAN_BEGINS]):
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        place += 2 + length if content[place + 1 : place + 2] != b"\xff" else 1  # any number of FF may fill up
    return content.find(JPEG_ENDS, place) >= 0


def normalize(x: Float[Tensor, "*b 3 h w"], std: Sequence[float] = IMAGENET_STD) -> Float[Tensor, "*b 3 h w"]:
    """Normalise colours in [0, 1] with ImageNet's mean and standard deviation."""
    return (x - x.new_tensor(IMAGENET_MEAN)[:, None, None]) / x.new_tensor(std)[:, None, None]


def normalized(
    levels: UInt8[Tensor, "*b 3 h w"] | Float[Tensor, "*b 3 h w"], std: Sequence[float] = IMAGENET_STD
) -> Float[Tensor, "*b 3 h w"]:
    """Normalise levels 0 to 255, whole or not, with ImageNet's mean and standard deviation."""
    return normalize(levels.float() / 255, std)


def as_large(mask: UInt8[np.ndarray, "_ _"], image: UInt8[Tensor, "3 _ _"], name: str) -> UInt8[np.ndarray, "_ _"]:
    """The mask of an image. Raises `ValueError` where it is not as large as the image."""
    if mask.shape != (size := tuple(image.shape[1:])):
        shown = (f"{a} x {b}" for a, b in (mask.shape, size))
        raise ValueError(
            f"{name}: a mask of {' for an image of '.join(shown)} (rows x columns), expected the same size"
        )
    return mask

"""The one reader of picture files, for training, scoring and galleries alike, and ImageNet's normalisation.

A picture is read as it is stored. It is never turned: what its EXIF orientation asks for is left to viewers, because the boxes and
masks of benchmarks are those of the stored pixels. That goes for people's own photographs, too (`pretrain=images`, folders of
classes); `task=check_data` and the plan count those that a viewer would turn. Transparency is left out, of several pictures in a
file the first is read, and greys of more than 8 bits are scaled by their own depth.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from struct import error as StructError
from typing import BinaryIO

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError
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
        raise UnreadableImage(f"cannot read the image {path}: {why_unread(error, path)}") from error
    except ValueError as error:
        if str(path) in str(error):  # the block's own
            raise
        raise UnreadableImage(f"cannot read the image {path}: {error}") from error


def read_picture(path: str | Path) -> Image.Image:
    """A picture file as RGB. Raises `UnreadableImage` where it cannot be decoded."""
    try:
        with open(path, "rb") as file:
            return by_depth(as_stored(Image.open(whole_picture(file)))).convert("RGB")
    except (*UNREADABLE, ValueError) as error:
        raise UnreadableImage(f"cannot read the image {path}: {why_unread(error, path)}") from error


def why_unread(error: BaseException, path: str | Path) -> str:
    """What is wrong with a file, in words."""
    if isinstance(error, UnidentifiedImageError):  # whose words are those of a Python object
        return "the file is empty" if os.path.getsize(path) == 0 else "it is no picture that Pillow knows"
    return str(error)


def read_levels(path: str | Path) -> UInt8[np.ndarray, "h w 3"]:
    """A picture file as an array, RGB. Raises `UnreadableImage` where it cannot be decoded."""
    return np.array(read_picture(path))


def read_rgb(path: str | Path) -> UInt8[Tensor, "3 h w"]:
    """A picture file as RGB. Raises `UnreadableImage` where it cannot be decoded."""
    from torchvision.transforms.v2.functional import (
        pil_to_tensor,  # here: it takes a second, and a plan reads no picture
    )

    return pil_to_tensor(read_picture(path))


ORIENTATION, UPRIGHT = 274, 1  # the EXIF tag, and its value for a picture that is shown as it is stored
TURN_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}  # fmt: skip


def as_stored(image: Image.Image) -> Image.Image:
    """The picture as its file has it: Pillow turns those of TIFF, and of TIFF alone, while it loads them."""
    orientation = image.getexif().get(ORIENTATION, UPRIGHT) if image.format == "TIFF" else UPRIGHT
    if orientation not in TURN_BACK:
        return image
    tags = dict(image.tag_v2)  # type: ignore[attr-defined]
    turned = image.transpose(TURN_BACK[orientation])
    turned.tag_v2, turned.format = tags, image.format  # type: ignore[attr-defined]
    return turned


DEEP = ("I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes of 16 bits, which `convert` cuts off at 255
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF


def by_depth(image: Image.Image) -> Image.Image:
    """Greys of more than 8 bits scaled by their own depth; other pictures as they are.

    Raises `ValueError` for numbers that have no range of their own: floating point, 32 bits.
    """
    if image.mode not in (*DEEP, "I", "F"):
        return image
    tags = getattr(image, "tag_v2", {})
    if image.mode in DEEP:
        top = (1 << tags.get(BITS_PER_SAMPLE, (16,))[0]) - 1
    elif image.mode == "I" and image.format in ("PNG", "PPM"):  # which Pillow widens from 16 bits
        top = (1 << 16) - 1
    else:
        kind = "floating-point numbers" if image.mode == "F" else "numbers of 32 bits"
        raise ValueError(f"its pixels are {kind}, which say no black and white; save it with 8 or 16 bits a channel")
    levels = np.asarray(image).astype(np.int64).clip(0, top)
    levels = top - levels if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else levels
    return Image.fromarray((levels * 255 // top).astype(np.uint8))


def mask_numbers(image: Image.Image, path: Path, what: str) -> UInt8[np.ndarray, "h w"]:
    """The numbers of a mask as they are stored, whatever its depth, never scaled. Raises `ValueError` for other pictures."""
    if image.mode not in ("P", "L", *DEEP):
        raise ValueError(f"{path}: got an image of mode {image.mode}, expected {what} (mode P or L)")
    numbers = np.array(image)
    if numbers.max() > 255:
        raise ValueError(f"{path}: got number {numbers.max()}, expected {what}, 255 at most")
    return numbers.astype(np.uint8, copy=False)


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

"""The one reader of picture files, for training, scoring and galleries alike, and ImageNet's normalisation."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB in [0, 1]; torchvision's reference training and DINO's eval_knn.py
IMAGENET_STD = (0.229, 0.224, 0.225)
# What a picture file's name ends in: torchvision's IMG_EXTENSIONS (tested), without importing it.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


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
    except (OSError, SyntaxError) as error:
        raise UnreadableImage(f"cannot read the image {path}: {error}") from error


def read_picture(path: str | Path) -> Image.Image:
    """A picture file as RGB. Raises `UnreadableImage` where it cannot be decoded."""
    try:
        with open(path, "rb") as file:
            return Image.open(file).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for missing, cut and broken files
        raise UnreadableImage(f"cannot read the image {path}: {error}") from error


def read_rgb(path: str | Path) -> UInt8[Tensor, "3 h w"]:
    """A picture file as RGB. Raises `UnreadableImage` where it cannot be decoded."""
    from torchvision.transforms.v2.functional import (
        pil_to_tensor,  # here: it takes a second, and a plan reads no picture
    )

    return pil_to_tensor(read_picture(path))


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

"""The numbers in DAVIS's masks: 0 background, 255 void, all others objects, whichever they are; or 0 and 255 alone (DAVIS 2016)."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from longtake.datasets.pictures import mask_numbers, opened

VOID = 255


def stored_mask(path: Path) -> UInt8[np.ndarray, "h w"]:
    """The numbers of a mask file; two colours are 0 and 255. Raises `ValueError` for an image that has no object numbers."""
    with opened(path) as image:
        return mask_numbers(image.convert("L") if image.mode == "1" else image, path, "object numbers")


def is_binary(mask: UInt8[np.ndarray, "h w"]) -> bool:
    """Whether 255 is all that a mask has beside the background."""
    return set(np.unique(mask).tolist()) | {0} == {0, VOID}


def one_kind(mask: UInt8[np.ndarray, "h w"], numbered: bool, path: Path) -> UInt8[np.ndarray, "h w"]:
    """The mask. Raises `ValueError` for other numbers than those of one object where masks are not numbered."""
    if not numbered and (numbers := set(np.unique(mask).tolist()) - {0, 1}):
        raise ValueError(f"{path}: got object {min(numbers)}, but the sequence's first mask has 0 and 255 alone")
    return mask


def objects_in(masks: UInt8[np.ndarray, "*size"]) -> list[int]:
    """The numbers of the objects in masks, which may skip some."""
    return [n for n in np.flatnonzero(np.bincount(masks.ravel(), minlength=256)).tolist() if n not in (0, VOID)]


def counted(masks: UInt8[np.ndarray, "*size"], objects: list[int], void: int = 0) -> UInt8[np.ndarray, "*size"]:
    """Masks whose `objects` are 1, 2, ... in that order, whatever their numbers; all others are background, and 255 is `void`."""
    table = np.zeros(256, np.uint8)
    table[objects] = np.arange(1, len(objects) + 1)
    table[VOID] = void
    return table[masks]

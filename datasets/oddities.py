"""What is odd about pictures and masks that can be read (`task=check_data`, plans): a line for each kind, with a few names."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from longtake.datasets.listing import shown
from longtake.datasets.pictures import DEEP, ORIENTATION, UPRIGHT, UnreadableImage, opened

VOID = 255
LOOKED_AT = 200  # pictures whose headers are read for a plan
TURNED = "would be turned by a viewer (EXIF orientation); they are read as stored"


def odd_pictures(paths: Iterable[str | Path], of: str) -> list[str]:
    """One line, which begins with `of`, for each kind of oddity in the files' headers; files that cannot be read are left out."""
    found: dict[str, list[str]] = {}
    for path in paths:
        for oddity in oddities_of(Path(path)):
            found.setdefault(oddity, []).append(Path(path).name)
    return [f"{of}: {len(names):,} pictures {oddity}: {shown(names)}" for oddity, names in found.items()]


def oddities_of(path: Path) -> list[str]:
    """What is odd about one picture, by its header."""
    try:
        with opened(path) as image:
            return list(_oddities(image))
    except UnreadableImage:
        return []


def _oddities(image: Image.Image) -> Iterator[str]:
    if image.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT:
        yield TURNED
    if image.mode in (*DEEP, "I"):
        yield "have 16 bits a channel; they are scaled to 8"
    if getattr(image, "has_transparency_data", False):
        yield "have transparency; it is left out"
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a phone's second picture is a copy
        yield "have several pictures in one file; the first is read"


def turned(paths: Sequence[str | Path]) -> str:
    """For the end of a plan's line: how many of the pictures that are looked at a viewer would turn; nothing where it is none."""
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, LOOKED_AT).astype(int))]
    count = sum(TURNED in oddities_of(Path(path)) for path in chosen)
    return f"; {count} of {len(chosen)} looked at {TURNED}" if count else ""


def empty_masks(paths: Iterable[Path], of: str) -> list[str]:
    """One line, which begins with `of`, on masks in which nothing is labelled; files that cannot be read are left out."""
    empty = [path.name for path in paths if _is_empty(path)]
    return [f"{of}: {len(empty):,} masks have nothing labelled: {shown(empty)}"] if empty else []


def _is_empty(path: Path) -> bool:
    try:
        with opened(path) as image:
            return not set(np.unique(np.array(image)).tolist()) - {0, VOID}
    except UnreadableImage:
        return False

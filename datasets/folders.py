"""What lies in and below a folder: which names are data, and which ones systems and tools have left between them."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from longtake.datasets.pictures import EXTENSIONS

# Besides all names that begin with a point (.DS_Store, AppleDouble's ._x.jpg): Windows', macOS's archives', network disks'.
LEFT_BEHIND = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "__macosx", "@eadir", "lost+found",
}  # fmt: skip
LONGEST = 250  # bytes of a name, with an extension: what file systems take
LEVELS = 3  # below a folder in which a layout is looked for
LOOKED_THROUGH = 10_000  # folders, at most


def is_data(name: str) -> bool:
    """Whether a file or a folder of this name was put there by somebody, not by a system or a tool beside it."""
    return not name.startswith(".") and name.lower() not in LEFT_BEHIND


def is_picture(name: str) -> bool:
    return is_data(name) and name.lower().endswith(EXTENSIONS)


def read_names(path: Path) -> str:
    """The text of a list of names, which may be in any encoding: names that are not UTF-8 are as the system gives them.

    Raises `ValueError` for what no file can be called.
    """
    content = path.read_bytes()
    if (longest := max(map(len, content.split()), default=0)) > LONGEST:
        raise ValueError(
            f"{path}: got a name of {longest:,} bytes, expected a list of names, of at most {LONGEST} each"
        )
    return os.fsdecode(content).replace("\0", "\N{REPLACEMENT CHARACTER}")


def walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, names sorted and data alone; follows links to folders, no folder twice.

    Whoever changes the order of the second list changes the order of what follows.
    """
    seen: set[str] = set()
    for place, below, files in os.walk(root, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(filter(is_data, below))
        yield place, below, sorted(filter(is_data, files))


def nearby(root: Path, needed: str) -> str:
    """`; did you mean FOLDER?` where a folder above or below has what is `needed` in it; "" where none has."""
    above = [root.parent, root.parent.parent]
    below = (Path(place) for place, *_ in islice(_shallow(root), LOOKED_THROUGH))
    found = next((folder for folder in (*above, *below) if folder != root and (folder / needed).exists()), None)
    return f"; did you mean {found}?" if found else ""


def _shallow(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for place, below, files in walk(root):
        if len(Path(place).relative_to(root).parts) == LEVELS:
            below.clear()
        yield place, below, files

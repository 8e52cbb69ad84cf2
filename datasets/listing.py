"""What lies in a folder or stands in a list, in one order for pictures, masks and scores: natural, `2` before `10`."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from longtake.datasets.folders import is_data, read_names
from longtake.datasets.pictures import EXTENSIONS

NAMED = 3  # of many names


def natural(name: str) -> list[str | int]:
    """`2` before `10`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def in_order(names: Iterable[str]) -> list[str]:
    """Names in natural order; those that differ in zeros alone, `1` and `01`, by character."""
    return sorted(names, key=lambda name: (natural(name), name))


def by_stem(folder: Path, extensions: Sequence[str] = EXTENSIONS) -> dict[str, Path]:
    """Files by their names without the extension, which counts in either case; none where there is no folder.

    Raises `ValueError` for two of one name.
    """
    found: dict[str, Path] = {}
    for file in sorted(os.listdir(folder)) if folder.is_dir() else []:
        stem, extension = os.path.splitext(file)
        if extension.lower() not in extensions or not is_data(file):
            continue
        if stem in found:
            raise ValueError(f"{folder}: {found[stem].name} and {file} have the same name, expected one file of each")
        found[stem] = folder / file
    return found


def picture_named(path: Path, usual: str) -> Path:
    """The picture file `path` with the `usual` extension, or with another one where only that is there."""
    expected = path.with_name(path.name + usual)
    if expected.is_file():
        return expected
    others = (path.with_name(path.name + spelt(end)) for end in EXTENSIONS for spelt in (str.lower, str.upper))
    return next((other for other in others if other.is_file()), expected)


def lines_of(path: Path) -> list[str]:
    """Names in a list, one a line. Raises `ValueError` when there is no list, none in it, or one of them twice."""
    if not path.is_file():
        raise ValueError(f"{path}: no such list")
    return once([line.strip() for line in read_names(path).splitlines() if line.strip()], path)


def once(names: list[str], path: Path) -> list[str]:
    """The names. Raises `ValueError` when there are none, or one of them twice."""
    if not names:
        raise ValueError(f"{path}: the list is empty")
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{path}: {twice} is listed twice, expected each once")
    return names


def shown(names: Sequence[object]) -> str:
    """The first few of many names."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more

"""Files of annotations as their makers wrote them, JSON and MATLAB; what is wrong with one is said with its path."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any

from longtake.datasets.matlab import load_matlab

LARGEST_PIXEL = 1 << 24  # beyond any picture; a larger number is none that somebody has measured


def read_json(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """A JSON object. Raises `ValueError` when there is none, or it lacks one of `keys`."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    content = parsed(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: got a {type(content).__name__}, expected an object with the keys {', '.join(keys)}")
    if lacks := [key for key in keys if key not in content]:
        raise ValueError(f"{path}: {', '.join(lacks)} missing, expected the keys {', '.join(keys)}")
    return content


def parsed(path: Path) -> Any:
    """Whatever is in a JSON file. Raises `ValueError` for other files."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # not text, not JSON, or too deep
        raise ValueError(f"{path}: not JSON ({error})") from error


def rows_of(
    content: Mapping[str, Any], key: str, fields: Mapping[str, type | UnionType], path: Path
) -> list[dict[str, Any]]:
    """A list of JSON objects that have these fields. Raises `ValueError` for one that lacks a field or has another type."""
    rows = content[key]
    if not isinstance(rows, list):
        raise ValueError(f"{path}: {key} is a {type(rows).__name__}, expected a list")
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(
                f"{path}: {key}[{i}] is a {type(row).__name__}, expected an object with {', '.join(fields)}"
            )
        for name, kind in fields.items():
            if not isinstance(row.get(name), kind) or isinstance(row[name], bool) or not is_stored(row[name]):
                got = f"{row[name]!r:.80}" if name in row else "nothing"
                raise ValueError(f"{path}: {key}[{i}] has the {name} {got}, expected {WORDS[kind]}")
    return rows


def is_stored(value: object) -> bool:
    """Whether an array of 64 bits takes a value, if it is a whole number: JSON's have no end."""
    return not isinstance(value, int) or abs(value) < 1 << 63


WORDS: dict[Any, str] = {
    int: "a whole number of 64 bits", str: "a text", int | str: "a whole number of 64 bits or a text",
}  # fmt: skip


def below(names: Sequence[str], place: Path) -> list[str]:
    """Names of files as a list has them. Raises `ValueError` for one that leads out of the data's folder."""
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or re.match("[A-Za-z]:/", name.replace("\\", "/")) or "\0" in name:
            raise ValueError(
                f"{place}: got the name {name!r}, expected one of a file in the data's folder, without '..'"
            )
    return list(names)


def read_mat(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Variables of a MATLAB file, dimensions of one left out. Raises `ValueError` when it is none or lacks one of `keys`."""
    try:
        found = load_matlab(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a MATLAB file ({error})") from error
    for key in keys:
        if key not in found:
            there = [name for name in found if not name.startswith("__")]
            raise ValueError(f"{path}: no variable {key!r} in it, expected one (there: {there})")
    return found

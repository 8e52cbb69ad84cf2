"""Files of annotations as their makers wrote them, JSON and MATLAB; what is wrong with one is said with its path."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read_json(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """A JSON object. Raises `ValueError` when there is none, or it lacks one of `keys`."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:  # not text, or not JSON
        raise ValueError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: got a {type(content).__name__}, expected an object with the keys {', '.join(keys)}")
    if lacks := [key for key in keys if key not in content]:
        raise ValueError(f"{path}: {', '.join(lacks)} missing, expected the keys {', '.join(keys)}")
    return content


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
    from scipy.io import loadmat

    try:
        found = loadmat(path, squeeze_me=True)
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(f"{path}: not a MATLAB file ({error})") from error
    for key in keys:
        if key not in found:
            there = [name for name in found if not name.startswith("__")]
            raise ValueError(f"{path}: no variable {key!r} in it, expected one (there: {there})")
    return found

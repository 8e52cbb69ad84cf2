"""The files of a GOT-10k sequence: how its frames are called, its boxes, its labels, its size."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from longtake.datasets.listing import in_order


class Numbering(NamedTuple):
    """How the frames of a sequence are called: what stands before and behind the number, its digits, and that of the first."""

    prefix: str = ""
    digits: int = 8  # at least so many, filled up with zeros
    suffix: str = ".jpg"
    first: int = 1

    def name(self, t: int) -> str:
        """Return the file name of frame `t`, counted from 0."""
        return f"{self.prefix}{t + self.first:0{self.digits}d}{self.suffix}"


OFFICIAL = Numbering()


def numbering_of(sequence: str, files: Sequence[str]) -> Numbering:
    """How a sequence's frames are called, padded with zeros or not. Raises `ValueError` for one that is missing between others."""
    first = re.fullmatch(r"(.*?)(\d+)(\.\w+)", in_order(files)[0])
    if not first:
        raise ValueError(f"{sequence}: got the frame {in_order(files)[0]}, expected a number as in 00000001.jpg")
    numbering = Numbering(first[1], len(first[2]), first[3], min(int(first[2]), 1))
    expected = [numbering.name(t) for t in range(len(files))]
    if lacks := [name for name in expected if name not in set(files)]:
        raise ValueError(f"{sequence}: {len(files)} frames but no {lacks[0]}, expected frames from {numbering.first}")
    return numbering


def finite(boxes: Float[np.ndarray, "n 4"], folder: Path) -> Float[np.ndarray, "n 4"]:
    """The boxes. Raises `ValueError` where one is NaN or infinite: its frame would not count, and nobody would say so."""
    if (lines := np.flatnonzero(~np.isfinite(boxes).all(1))).size:
        line = int(lines[0])
        raise ValueError(
            f"{folder / 'groundtruth.txt'}: line {line + 1} is {boxes[line].tolist()}, expected finite numbers"
        )
    return boxes


def read_numbers(path: Path, columns: int) -> Float[np.ndarray, "n columns"]:
    """Comma-separated lines of a file. Raises `ValueError` for anything else."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    return parse_numbers(path.read_text(errors="replace"), columns, str(path))


def parse_numbers(text: str, columns: int, place: str) -> Float[np.ndarray, "n columns"]:
    """Comma-separated lines. Raises `ValueError`, which begins with `place`, for anything else."""
    rows = [line.split(",") for line in text.splitlines() if line.strip()]
    try:
        if {len(row) for row in rows} <= {columns}:
            return np.array(rows, np.float64).reshape(-1, columns)
    except ValueError:
        pass  # not numbers
    raise ValueError(f"{place}: expected {columns} numbers with commas between them in every line")


def labels_of(folder: Path, kind: str, num_frames: int) -> Float[np.ndarray, " n"]:
    labels = read_numbers(folder / f"{kind}.label", 1)[:, 0]
    if len(labels) != num_frames:
        raise ValueError(f"{folder.name}: {len(labels)} lines in {kind}.label, expected {num_frames}, one per frame")
    return labels


def resolution_of(folder: Path) -> tuple[int, int]:
    """Width and height as meta_info.ini has them."""
    path = folder / "meta_info.ini"
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    lines = dict(line.partition(":")[::2] for line in path.read_text(errors="replace").splitlines()[1:])
    found = re.fullmatch(r"\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)\s*", lines.get("resolution", ""))
    if not found:
        raise ValueError(f"{path}: got resolution:{lines.get('resolution', '')!r}, expected (width, height)")
    return int(found[1]), int(found[2])

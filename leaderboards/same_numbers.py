"""Read which hashes of code stand for the same numbers: `same_numbers.csv`, beside the leaderboards.

A row keeps the hash of the code that made it. A line of this file says that the code of another hash gave bit-equal numbers on
fixed fixtures (`run task=same_numbers since=REV` writes it, nobody else does), so that the row is still as good as new. Lines
form chains.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from longtake.files import replace, sole_writer

NAME = "same_numbers.csv"


class Equivalence(NamedTuple):
    """Two hashes of the same numbers."""

    old: str
    new: str
    what: str  # "training dora mini vit_mini_8", "evaluation knn_mini"
    commit: str  # OLD..NEW: the two that were run side by side
    digest: str  # of the numbers that both gave, on the machine that ran them


def read_equivalences(path: Path) -> list[Equivalence]:
    """The lines of a file; none where there is no file. Raises `ValueError`, with the line, for what nobody has written so."""
    if not path.is_file():
        return []
    head, *records = _cells(path) or [[]]
    fields = list(Equivalence._fields)
    if head != fields:
        raise ValueError(f"{path}: line 1: got columns {','.join(head)!r}, expected {','.join(fields)!r}")
    for number, cells in enumerate(records, 2):
        if len(cells) != len(fields) or not all(cells):
            raise ValueError(
                f"{path}: line {number}: got {len(cells)} cells, expected {len(fields)}, none of them empty"
            )
    return [Equivalence(*cells) for cells in records]


def _cells(path: Path) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV of text ({error}); restore the file") from error


def add_equivalences(path: Path, lines: Iterable[Equivalence]) -> None:
    """Add lines, each in the place of one between the same two hashes; sorted by what they are about."""
    with sole_writer(path):
        known = {(line.old, line.new): line for line in [*read_equivalences(path), *lines]}
        ordered = sorted(known.values(), key=lambda line: (line.what, line.commit))
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Equivalence._fields)
        writer.writerows(ordered)
        replace(path, stream.getvalue().encode())


def chain(old: str, new: str, lines: Sequence[Equivalence]) -> list[Equivalence] | None:
    """The shortest chain of lines from one hash to another: [] where they are the same, None where nothing leads there."""
    ways: dict[str, list[Equivalence]] = {old: []}
    waiting = [old]
    while waiting:
        here = waiting.pop(0)
        if here == new:
            return ways[here]
        for line in lines:
            if line.old == here and line.new not in ways:
                ways[line.new] = [*ways[here], line]
                waiting.append(line.new)
    return None

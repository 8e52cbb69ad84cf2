"""The CSV that the rows of an evaluation live in, one row per key (leaderboards/schema.py).

Numbers are written with all their digits and rounded only where they are shown. An empty cell is a thing not known: the
interval of a number read from a paper, the epochs of a foreign checkpoint.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from longtake.files import replace, sole_writer
from longtake.leaderboards.schema import (
    ADDED_IN_2,
    FORMULA,
    INTEGERS,
    MARK,
    NO_SEAL,
    SEAL,
    TEXTS,
    Key,
    Provenance,
    Row,
    cells_of,
    columns,
    marked,
    metrics_in,
    seal_of,
)
from longtake.leaderboards.statistics import Estimate

NEVER_EMPTY = {"method", "source"}
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]\d+)?", re.ASCII)
CONFLICT_MARKERS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")


def read(path: Path, metrics: Sequence[str]) -> list[Row]:
    """The rows of one evaluation; none when the file does not exist yet. Files of version 1 are understood.

    Raises:
        ValueError: the file has other columns, holds a merge conflict, a line or a value that `upsert` would not write,
            or one key twice; says the line and the column.
    """
    return rows_in(path.read_bytes(), str(path), metrics) if path.exists() else []


def rows_in(content: bytes, name: str, metrics: Sequence[str] | None = None) -> list[Row]:
    """The rows in the content of a file that messages call `name`; `metrics` are those of its header unless given.

    Raises `ValueError` as `read` does.
    """
    rows: dict[Key, Row] = {}
    lines: dict[Key, int] = {}
    records = _records(content, name)
    header = next(records, (1, "", []))[2]
    metrics = metrics_in(header) if metrics is None else metrics
    names = _check_header(name, header, metrics)
    for line, raw, cells in records:
        place = f"{name}: line {line}"
        _check_written(place, raw, cells, names)
        row = _parse(place, _migrated(cells, names), metrics)
        if row.key in rows:
            raise ValueError(f"{place}: got the key of line {lines[row.key]} again ({row.key}); delete one of them")
        rows[row.key], lines[row.key] = row, line
    return list(rows.values())


def metrics_of(path: Path) -> tuple[str, ...]:
    """The metrics a file's header names, in its order.

    Raises:
        ValueError: the header is not a leaderboard's.
    """
    found = next(_records(path.read_bytes(), str(path)), (1, "", []))[2]
    metrics = metrics_in(found)
    _check_header(str(path), found, metrics)
    return metrics


def upsert(path: Path, rows: Iterable[Row], metrics: Sequence[str]) -> None:
    """Adds `rows` to the file, each in the place of the row with its key if there is one, sorted by key.

    Other processes may do the same at the same time, and a kill leaves the old file or the new one.

    Raises:
        ValueError: the file is not one that `read` accepts, or a row has a metric the task does not declare, a number
            that is not finite, half an interval, or no method.
    """
    assert len(set(columns(metrics))) == len(columns(metrics)), f"two columns of one name: {columns(metrics)}"
    new = []
    for row in rows:
        place = f"{path}: row '{row.key}'"
        if undeclared := set(row.metrics) - set(metrics):
            raise ValueError(f"{place}: got metrics {sorted(undeclared)}, expected some of {list(metrics)}")
        new.append(_parse(place, cells_of(row, metrics), metrics))  # what cannot be read is never written
    with sole_writer(path):
        merged = {row.key: row for row in [*read(path, metrics), *new]}
        records = [columns(metrics), *(cells_of(merged[key], metrics) for key in sorted(merged, key=_order))]
        replace(path, "".join(_written(cells) for cells in records).encode())


def _order(key: Key) -> tuple[Any, ...]:
    """Epochs and seeds in the order of numbers, the unknown first."""
    return tuple(-math.inf if value is None else value for value in key)


def _written(cells: Sequence[str]) -> str:
    """The line of a record."""
    stream = io.StringIO()
    # Ending lines with \r\n makes every Python quote a field that has a lone \r, which cannot be read back otherwise.
    csv.writer(stream, lineterminator="\r\n").writerow(cells)
    return stream.getvalue().removesuffix("\r\n") + "\n"


def _records(content: bytes, name: str) -> Iterator[tuple[int, str, list[str]]]:
    """For each record its first line's number, its text and its cells; it has several lines where a cell has."""
    # surrogateescape lets bytes that are not UTF-8 through to _value, where their column is known.
    lines = list(io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""))
    reader = csv.reader(lines)
    start = 0
    try:
        for cells in reader:
            raw = "".join(lines[start : reader.line_num])
            if raw.startswith(CONFLICT_MARKERS) and len(cells) < len(Key._fields):
                place = f"{name}: line {start + 1}, column 'method'"
                raise ValueError(f"{place}: got merge conflict {cells[0]!r}; resolve it")
            yield start + 1, raw, cells
            start = reader.line_num
    except csv.Error:  # the one that a reader has for text
        raise ValueError(_endless(name, lines, start)) from None


def _endless(name: str, lines: Sequence[str], start: int) -> str:
    """What to say of a record with a cell that is longer than the reader takes: a quote opens it, and nothing closes it."""
    most = csv.field_size_limit()
    names = columns([]) if start == 0 else next(csv.reader(lines))
    intact = len(next(csv.reader([lines[start][:most]]))) - 1
    return (
        f"{name}: line {start + 1}, column {names[min(intact, len(names) - 1)]!r}: got a cell of more than {most} characters, "
        "expected a record as it was written, without a quote that nothing closes; restore the file"
    )


def _check_header(name: str, found: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """The columns of the file, which may be of version 1."""
    expected = columns(metrics)
    if list(found) not in (expected, columns(metrics, version=1)):
        raise ValueError(
            f"{name}: line 1: got columns {','.join(found)!r}, expected {','.join(expected)!r}; "
            "move the file away or restore it"
        )
    return list(found)


def _migrated(cells: list[str], names: Sequence[str]) -> list[str]:
    """The cells of a record of version 1 as version 2 has them; the next `upsert` writes them so."""
    if SEAL in names:
        return cells
    cells = [marked(cell) if name in TEXTS else cell for name, cell in zip(names, cells, strict=True)]
    cells += [""] * len(ADDED_IN_2)
    return [*cells, seal_of(cells)]


def _check_written(place: str, raw: str, cells: Sequence[str], names: Sequence[str]) -> None:
    """A record is written as `upsert` writes it and has all its cells; else it was cut short or edited, and where."""
    intact = len(cells)
    bare = '"' not in raw and raw == ",".join(cells) + "\n"  # as the writer does where no cell needs quotes
    if not bare and raw != _written(cells):
        intact = sum(raw.startswith(_written(cells[: i + 1])[:-1] + ",") for i in range(len(cells)))
    elif len(cells) == len(names):
        return
    column = names[min(intact, len(names) - 1)]
    raise ValueError(
        f"{place}, column {column!r}: got {len(cells)} cells in a line that is cut short or edited by hand, "
        f"expected {len(names)} as they were written; restore the file"
    )


def _parse(place: str, cells: Sequence[str], metrics: Sequence[str]) -> Row:
    names = columns(metrics)
    try:
        values = list(map(_value, names, cells))
    except ValueError:
        values = [_explained(place, name, cell) for name, cell in zip(names, cells, strict=True)]
    scores, first = {}, len(Key._fields)
    for metric in metrics:
        value, low, high = values[first : first + 3]
        first += 3
        if value is not None and (low is None) == (high is None) and (low is None or low <= high):
            scores[metric] = Estimate(value, low, high)
        elif (value, low, high) != (None, None, None):
            got = f"{value} [{low}, {high}]"
            raise ValueError(f"{place}, column {metric!r}: got {got}, expected a number and low <= high")
    *others, seal = cells
    broken = "" if seal == seal_of(others) else seal or NO_SEAL
    return Row(Key(*values[: len(Key._fields)]), scores, Provenance(*values[first:-1]), broken)


def _explained(place: str, name: str, cell: str) -> Any:
    """The value of a cell; its error says where."""
    try:
        return _value(name, cell)
    except ValueError as error:
        raise ValueError(f"{place}, column {name!r}: got {cell!r}, expected {error}") from None


@lru_cache(maxsize=100_000)  # most cells of a long file are those of other rows, too
def _value(name: str, cell: str) -> Any:
    """The value of a cell; its ValueError says what was expected."""
    if name in TEXTS:
        if (name in NEVER_EMPTY and not cell) or cell != cell.encode("utf-8", "replace").decode():
            raise ValueError("a name in UTF-8")
        if FORMULA.match(cell) and not cell.startswith(MARK):
            raise ValueError(f"a name that begins with one of = + - @ to be written behind {MARK}")
        return cell.removeprefix(MARK)
    if not cell:
        return None
    if name in INTEGERS:
        if not re.fullmatch(r"-?\d+", cell, re.ASCII):
            raise ValueError("an integer or nothing")
        return int(cell)
    if not NUMBER.fullmatch(cell) or not math.isfinite(float(cell)):
        raise ValueError("a finite number or nothing")
    return float(cell)

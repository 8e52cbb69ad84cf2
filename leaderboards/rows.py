"""The CSV that the rows of an evaluation live in, one row per key (leaderboards/schema.py).

Numbers are written with all their digits and rounded only where they are shown. An empty cell is a thing not known: the
interval of a number read from a paper, the epochs of a foreign checkpoint.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from longtake.files import replace, sole_writer
from longtake.leaderboards.header import Header
from longtake.leaderboards.same_numbers import NAME as SAME_NUMBERS
from longtake.leaderboards.schema import (
    Key,
    Provenance,
    Row,
    broken_seal,
    cells_of,
    columns,
    explained,
    sealed,
    value_of,
)
from longtake.leaderboards.statistics import Estimate

CONFLICT_MARKERS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")


def board_files(folder: Path) -> list[Path]:
    """The leaderboards of a folder, sorted by name; `same_numbers.csv` is not one of them."""
    return sorted(path for path in folder.glob("*.csv") if path.name != SAME_NUMBERS)


def read(path: Path, metrics: Sequence[str]) -> list[Row]:
    """The rows of one evaluation; none when the file does not exist yet. Files of older columns are understood (header.py).

    Raises:
        ValueError: the file has other columns than rows may have, holds a merge conflict, a line or a value that `upsert`
            would not write, or one key twice; says the line and the column.
    """
    return rows_in(path.read_bytes(), str(path), metrics) if path.exists() else []


def rows_in(content: bytes, name: str, metrics: Sequence[str] | None = None) -> list[Row]:
    """The rows in the content of a file that messages call `name`; `metrics` are those of its header unless given.

    Raises `ValueError` as `read` does.
    """
    rows: dict[Key, Row] = {}
    lines: dict[Key, int] = {}
    records = _records(content, name)
    header = _header(name, records, metrics)
    for line, raw, cells in records:
        place = f"{name}: line {line}"
        _check_written(place, raw, cells, header.names)
        row = _parse(place, header.todays(place, cells), header.metrics, header.broken_seal(cells))
        if row.key in rows:
            raise ValueError(f"{place}: got the key of line {lines[row.key]} again ({row.key}); delete one of them")
        rows[row.key], lines[row.key] = row, line
    return list(rows.values())


def metrics_of(path: Path) -> tuple[str, ...]:
    """The metrics a file's header names, in its order.

    Raises:
        ValueError: the header is not a leaderboard's.
    """
    return _header(str(path), _records(path.read_bytes(), str(path))).metrics


def upsert(path: Path, rows: Iterable[Row], metrics: Sequence[str]) -> None:
    """Adds `rows` to the file, each in the place of the row with its key if there is one, sorted by key.

    The file gets today's columns. A row's seal is made anew, but a broken one stays as it is.

    Other processes may do the same at the same time, and a kill leaves the old file or the new one.

    Raises:
        ValueError: the file is not one that `read` accepts, or a row has a metric the task does not declare, a number
            that is not finite, half an interval, or no method.
    """
    names, new = columns(metrics), []
    assert len(set(names)) == len(names), f"two columns of one name: {names}"
    header = sealed(tuple(names))
    for row in rows:
        place = f"{path}: row '{row.key}'"
        if undeclared := set(row.metrics) - set(metrics):
            raise ValueError(f"{place}: got metrics {sorted(undeclared)}, expected some of {list(metrics)}")
        cells = cells_of(row, metrics)
        new.append(_parse(place, cells, metrics, broken_seal(cells, header)))  # what cannot be read is never written
    with sole_writer(path):
        merged = {row.key: row for row in [*read(path, metrics), *new]}
        records = [names, *(cells_of(merged[key], metrics) for key in sorted(merged, key=_order))]
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
    """Yield each record's first line number, its text and its cells; a record has several lines where a cell has."""
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
    """Describe a record with a cell that is longer than the reader takes: a quote opens it, and nothing closes it."""
    most = csv.field_size_limit()
    names = columns([]) if start == 0 else next(csv.reader(lines))
    intact = len(next(csv.reader([lines[start][:most]]))) - 1
    return (
        f"{name}: line {start + 1}, column {names[min(intact, len(names) - 1)]!r}: got a cell of more than {most} characters, "
        "expected a record as it was written, without a quote that nothing closes; restore the file"
    )


def _header(name: str, records: Iterator[tuple[int, str, list[str]]], metrics: Sequence[str] | None = None) -> Header:
    """The first of the records as a file's header."""
    _, raw, found = next(records, (1, "", []))
    return Header(name, raw, found, metrics)


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


def _parse(place: str, cells: Sequence[str], metrics: Sequence[str], broken: str) -> Row:
    """The row of a record with today's columns; `broken` is its seal if that is broken."""
    names = columns(metrics)
    values: list[Any]
    try:
        values = list(map(value_of, names, cells))
    except ValueError:
        values = [explained(place, name, cell) for name, cell in zip(names, cells, strict=True)]
    scores, first = {}, len(Key._fields)
    for metric in metrics:
        value, low, high = values[first : first + 3]
        first += 3
        if value is not None and (low is None) == (high is None) and (low is None or low <= high):
            scores[metric] = Estimate(value, low, high)
        elif (value, low, high) != (None, None, None):
            got = f"{value} [{low}, {high}]"
            raise ValueError(f"{place}, column {metric!r}: got {got}, expected a number and low <= high")
    return Row(Key(*values[: len(Key._fields)]), scores, Provenance(*values[first:-1]), broken)

"""The parts of a leaderboard's row, and how its cells are written.

    key columns | for each metric m: m, m_low, m_high | provenance columns | seal

The seal is a hash of the other cells and of the header that they were written with: a digit changed by hand is noticed. A name
that a spreadsheet would take for a formula is written behind an apostrophe, and so is a name that begins with one.

A new provenance column is a field of `Provenance` with a default: rows of older files have the default (leaderboards/header.py).
A new key column is a field of `Key` and a migration (leaderboards/migrations.py).
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from typing import NamedTuple, get_type_hints

from longtake.leaderboards.statistics import Estimate

RANDOM_INIT = "none"  # as a method: the randomly initialised encoder
PAPER = "paper:"  # what the source of a number that we read begins with
DATA = re.compile(r" data=(\S+)")  # in a protocol
# Of a key: what tells an encoder from others, but for its seed.
IDENTITY = ("method", "variant", "pretrain", "backbone", "epochs")


class Key(NamedTuple):
    """The key of a row: what it is about. A second result with the same key replaces the first."""

    method: str  # RANDOM_INIT is one
    variant: str  # what differs from the method's recipe: "fidelity=official num_objects=4"
    pretrain: str
    backbone: str
    epochs: int | None  # of pretraining; 0 for random init, None when unknown
    protocol: str  # preset and version of the evaluation
    seed: int | None  # None when unknown
    source: str  # "run", or the place the numbers were read from: "paper:table5"

    @property
    def data(self) -> str:
        """The data, where they are not the protocol's own: `birds@3f2a1c04`; else ""."""
        found = DATA.search(self.protocol)
        return found[1] if found else ""

    @property
    def identity(self) -> tuple:
        """The fields of `IDENTITY`."""
        return _identity(self)

    def __str__(self) -> str:
        fields = zip(self._fields[1:], self[1:], strict=True)
        return " ".join([self.method, *(f"{name}={value}" for name, value in fields if value not in ("", None))])


_identity = attrgetter(*IDENTITY)


class Provenance(NamedTuple):
    """The origin of a row's numbers; all but the note is empty for a paper's numbers. Unknown fields have their defaults."""

    config_hash: str = ""
    checkpoint_hash: str = ""
    code_commit: str = ""
    date: str = ""  # ISO 8601
    frames_seen: int | None = None  # by the encoder, in pretraining
    hours: float | None = None  # of pretraining, wall clock
    peak_memory_gb: float | None = None
    device: str = ""
    command: str = ""  # that made the row
    code_hash: str = ""  # of the modules that method and evaluation consist of
    data_hash: str = ""  # of which items were tested
    tested_on: str = ""  # learnt from, and tested on, by content: "birds@3f2a1c04: train 1,200, val 100"
    note: str = ""  # a known contradiction, a caveat

    @property
    def digest(self) -> str:
        """Hex digits of what is in the data; "" of a world, which has none, and where nobody knows."""
        return self.tested_on.partition(":")[0].partition("@")[2]


@dataclass(frozen=True)
class Row:
    """One result: its key, its metrics (per cent) by name, and its provenance.

    `broken_seal` is what the file has where its seal does not fit the other cells: somebody changed them. It stays with the row.
    """

    key: Key
    metrics: Mapping[str, Estimate]
    provenance: Provenance
    broken_seal: str = ""


LOWER_IS_BETTER = "_decay"  # of a metric's name
SEAL, NO_SEAL = "seal", "none"
Value = str | int | float | None  # of a cell
_TYPES = {**get_type_hints(Key), **get_type_hints(Provenance)}
assert set(_TYPES.values()) <= {str, int | None, float | None}, _TYPES
INTEGERS = {name for name, kind in _TYPES.items() if kind == int | None}
TEXTS = {SEAL, *(name for name, kind in _TYPES.items() if kind is str)}  # all other columns are numbers
NEVER_EMPTY = {"method", "source"}
# What stood around the metrics in versions 1 and 2 of the files; later versions are told by their columns alone.
# Version 1 had no seal, and version 2's covers no header.
OLD_KEY = ("method", "variant", "pretrain", "backbone", "epochs", "protocol", "seed", "source")
OLD_PROVENANCE_1 = (
    "config_hash", "checkpoint_hash", "code_commit", "date", "frames_seen", "hours", "peak_memory_gb", "device",
)  # fmt: skip
OLD_PROVENANCE_2 = (*OLD_PROVENANCE_1, "command", "code_hash", "data_hash", "note")
MARK = "'"
FORMULA = re.compile(
    r"[=+\-@\t\r']"
)  # what begins a name that a spreadsheet may execute, or one that has the mark already
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]\d+)?", re.ASCII)


def lower_is_better(metric: str) -> bool:
    return metric.endswith(LOWER_IS_BETTER)


def columns(metrics: Sequence[str]) -> list[str]:
    """The header of an evaluation with these metrics."""
    return list(_columns(tuple(metrics)))


@cache
def _columns(metrics: tuple[str, ...]) -> tuple[str, ...]:
    return (*Key._fields, *score_columns(metrics), *Provenance._fields, SEAL)


def score_columns(metrics: Sequence[str]) -> list[str]:
    """Those of the metrics and their intervals."""
    return [column for metric in metrics for column in (metric, f"{metric}_low", f"{metric}_high")]


def cells_of(row: Row, metrics: Sequence[str]) -> list[str]:
    """The texts of a row's record, the seal last."""
    scores = [number for metric in metrics for number in row.metrics.get(metric, (None, None, None))]
    cells = [text_of(value) for value in [*row.key, *scores, *row.provenance]]
    return [*cells, row.broken_seal or seal_of(cells, sealed(_columns(tuple(metrics))))]


def broken_seal(cells: Sequence[str], header: str) -> str:
    """Return what stands in the place of a record's seal where that does not fit the rest; else ""."""
    *others, seal = cells
    return "" if seal == seal_of(others, header) else seal or NO_SEAL


def seal_of(cells: Sequence[str], header: str) -> str:
    """Twelve hex digits of the cells before the seal, as a JSON array, and of what seals cover of the header (`sealed`)."""
    return hashlib.sha256(f"{header}{_json(cells)}".encode()).hexdigest()[:12]


@cache
def sealed(names: tuple[str, ...]) -> str:
    """Return the part of a header that seals cover: its names as a JSON array, but nothing of version 2's."""
    metrics = names[len(OLD_KEY) : -len(OLD_PROVENANCE_2) - 1 : 3]
    is_version_2 = names == (*OLD_KEY, *score_columns(metrics), *OLD_PROVENANCE_2, SEAL)
    return "" if is_version_2 else _json(names)


def _json(texts: Sequence[str]) -> str:
    """Written here because `json.dumps` takes twice the time."""
    return f"[{', '.join(map(encode_basestring_ascii, texts))}]"


def marked(name: str) -> str:
    """A name as a spreadsheet leaves it alone."""
    return MARK + name if FORMULA.match(name) else name


def text_of(value: Value) -> str:
    """A value as it stands in its cell."""
    if value is None:
        return ""
    if isinstance(value, str):
        return marked(value)
    # float(): NumPy's floats are floats too, but their repr is "np.float64(1.0)".
    return repr(float(value)) if isinstance(value, float) else str(value)


@lru_cache(maxsize=100_000)  # most cells of a long file are those of other rows, too
def value_of(name: str, cell: str) -> Value:
    """The value of a cell of the column `name`; the ValueError says what was expected."""
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


def explained(place: str, name: str, cell: str) -> Value:
    """The value of a cell; its `ValueError` says where it is, too."""
    try:
        return value_of(name, cell)
    except ValueError as error:
        raise ValueError(f"{place}, column {name!r}: got {cell!r}, expected {error}") from None

"""What a leaderboard's row consists of, and how its cells are written.

    key columns | for each metric m: m, m_low, m_high | provenance columns | seal

The seal is a hash of the other cells: a digit changed by hand is noticed. A name that a spreadsheet would take for a formula is
written behind an apostrophe, and so is a name that begins with one.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from json.encoder import encode_basestring_ascii
from typing import NamedTuple

from longtake.leaderboards.statistics import Estimate

RANDOM_INIT = "none"  # as a method: the randomly initialised encoder
PAPER = "paper:"  # what the source of a number that we read begins with
# Of a key: what tells an encoder from others, but for its seed.
IDENTITY = ("method", "variant", "pretrain", "backbone", "epochs")


class Key(NamedTuple):
    """What a row is about; a second result with the same key replaces the first."""

    method: str  # RANDOM_INIT is one
    variant: str  # what differs from the method's recipe: "fidelity=official num_objects=4"
    pretrain: str
    backbone: str
    epochs: int | None  # of pretraining; 0 for random init, None when unknown
    protocol: str  # preset and version of the evaluation
    seed: int | None  # None when unknown
    source: str  # "run", or the place the numbers were read from: "paper:table5"

    @property
    def identity(self) -> tuple:
        """The fields of `IDENTITY`."""
        return self[: len(IDENTITY)]

    def __str__(self) -> str:
        fields = zip(self._fields[1:], self[1:], strict=True)
        return " ".join([self.method, *(f"{name}={value}" for name, value in fields if value not in ("", None))])


class Provenance(NamedTuple):
    """Where the numbers come from; all but the note empty for numbers read from a paper."""

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
    data_hash: str = ""  # of what was tested
    note: str = ""  # a known contradiction, a caveat


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
ADDED_IN_2 = ("command", "code_hash", "data_hash", "note")  # of the provenance; files of version 1 have no seal either
INTEGERS = {"epochs", "seed", "frames_seen"}
TEXTS = (
    {*Key._fields, *Provenance._fields, SEAL} - INTEGERS - {"hours", "peak_memory_gb"}
)  # all other columns are numbers
MARK = "'"
FORMULA = re.compile(
    r"[=+\-@\t\r']"
)  # what begins a name that a spreadsheet may execute, or one that has the mark already


def lower_is_better(metric: str) -> bool:
    return metric.endswith(LOWER_IS_BETTER)


def columns(metrics: Sequence[str], version: int = 2) -> list[str]:
    """The header of an evaluation with these metrics."""
    return list(_columns(tuple(metrics), version))


@cache
def _columns(metrics: tuple[str, ...], version: int) -> list[str]:
    scores = [column for metric in metrics for column in (metric, f"{metric}_low", f"{metric}_high")]
    provenance = [name for name in Provenance._fields if version == 2 or name not in ADDED_IN_2]
    return [*Key._fields, *scores, *provenance, *([SEAL] if version == 2 else [])]


def metrics_in(header: Sequence[str]) -> tuple[str, ...]:
    """The metrics that a header of either version may have; whether it is one, its caller finds out."""
    behind = columns([], 2 if SEAL in header else 1)[len(Key._fields) :]
    return tuple(header[len(Key._fields) : len(header) - len(behind) : 3])


def cells_of(row: Row, metrics: Sequence[str]) -> list[str]:
    """The texts of a row's record, the seal last."""
    scores = [number for metric in metrics for number in row.metrics.get(metric, (None, None, None))]
    cells = [_text(value) for value in [*row.key, *scores, *row.provenance]]
    return [*cells, row.broken_seal or seal_of(cells)]


def seal_of(cells: Sequence[str]) -> str:
    """Twelve hex digits of all cells before the seal, as a JSON array (written here because `json.dumps` takes twice the time)."""
    array = f"[{', '.join(map(encode_basestring_ascii, cells))}]"
    return hashlib.sha256(array.encode()).hexdigest()[:12]


def marked(name: str) -> str:
    """A name as a spreadsheet leaves it alone."""
    return MARK + name if FORMULA.match(name) else name


def _text(value: str | int | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return marked(value)
    # float(): NumPy's floats are floats too, but their repr is "np.float64(1.0)".
    return repr(float(value)) if isinstance(value, float) else str(value)

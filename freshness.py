"""Whether a row's numbers are still those of this code: hashes of what trained and of what measured it, and seals.

A row's code hash has two parts, `training-evaluation`. The first is that of the method's modules and of the training loop when the
encoder was trained, of the backbone alone for random init, `foreign` for other codes' encoders; the second that of the evaluation's
modules. A change in how data are read or in what a module merely imports makes a row stale, too: better once too often.
"""

import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from longtake.backbones.checkpoints import FOREIGN
from longtake.boards import task_of
from longtake.console import console
from longtake.downstream.base import Downstream
from longtake.leaderboards.diff import committed
from longtake.leaderboards.outcomes import has_outcomes, items_hash, load_outcomes
from longtake.leaderboards.publish import REPOSITORY
from longtake.leaderboards.rows import metrics_of, read
from longtake.leaderboards.schema import RANDOM_INIT, Key, Row, cells_of, columns
from longtake.leaderboards.source_hash import source_hash
from longtake.methods.base import METHODS
from longtake.registry import UnknownName

FOR_PEOPLE = frozenset({"console", "progress", "downstream.gallery"})  # what is printed and drawn
UNKNOWN = "unknown"  # instead of the training's hash, of encoders that were trained before there was one


class Finding(NamedTuple):
    """What is wrong with a row."""

    board: Path
    key: Key
    reasons: tuple[str, ...]


@cache
def training_hash(method: str) -> str:
    """Of the method's modules and the training loop; of the backbone for random init (`none`)."""
    if method == RANDOM_INIT:
        return source_hash([REPOSITORY / "backbones" / "vit.py"], REPOSITORY)
    return source_hash([_file(METHODS[method]), REPOSITORY / "fit.py"], REPOSITORY, FOR_PEOPLE)


@cache
def evaluation_hash(task: type[Downstream]) -> str:
    return source_hash([_file(task)], REPOSITORY, FOR_PEOPLE)


def _file(cls: type) -> Path:
    return Path(inspect.getfile(cls)).resolve()


def verify(folders: list[Path]) -> bool:
    """Print which rows of the folders' CSVs are edited, stale or of unknown code; whether there is none.

    Raises `ValueError` for a file that is no leaderboard.
    """
    boards = [path for folder in folders for path in sorted(folder.glob("*.csv"))]
    checked = [(path, row) for path in boards for row in read(path, metrics_of(path))]
    findings = [Finding(path, row.key, found) for path, row in checked if (found := tuple(reasons(path, row)))]
    for path, key, found in findings:
        console.print(f"{path}: {key}: {'; '.join(found)}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"{len(checked)} rows in {len(boards)} leaderboards: {len(findings)} not as they should be")
    return not findings


def reasons(path: Path, row: Row) -> Iterator[str]:
    """Why a row of the leaderboard `path` cannot be trusted, if anything."""
    if row.broken_seal:
        yield f"edited{_where(path, row)}"
    if row.key.source != "run":
        return
    yield from _of_code(path.stem, row.key.method, row.key.protocol, row.provenance.code_hash)
    if has_outcomes(path.parent, path.stem, row.key):
        yield from _of_outcomes(path, row)


@cache
def _of_code(evaluation: str, method: str, protocol: str, code_hash: str) -> tuple[str, ...]:
    """What of the code is not, or is not known to be, that of today."""
    trained, _, evaluated = code_hash.partition("-")
    if not evaluated or trained == UNKNOWN:
        return ("unknown: no hash of its code",)
    found = []
    try:
        if trained != FOREIGN and trained != training_hash(method):
            found.append(f"stale: the code of {method} has changed")
    except UnknownName:
        found.append(f"unknown: no method is called {method!r}")
    try:
        task = task_of(evaluation)
    except ValueError as error:
        return (*found, f"unknown: {error}")
    if evaluated != evaluation_hash(task):
        found.append(f"stale: the code of {evaluation} has changed")
    if not protocol.strip():
        found.append("unknown: no protocol")
    elif not protocol.split()[0].endswith(f"-v{task.version}"):
        found.append(f"stale: the protocol is version {task.version} now")
    return tuple(found)


def _of_outcomes(path: Path, row: Row) -> Iterator[str]:
    """What is wrong with what was kept of its items."""
    try:
        outcomes = load_outcomes(path.parent, path.stem, row.key)
    except ValueError as error:
        yield f"its outcomes cannot be read: {error}"
        return
    if row.provenance.data_hash != items_hash(outcomes):
        yield "its outcomes are of other items"


def _where(path: Path, row: Row) -> str:
    """Which columns are other than in the last commit, where that has the row."""
    before = committed(path.parent, "HEAD", path.name).get(row.key)
    if before is None:
        return ""
    metrics = metrics_of(path)
    cells = zip(columns(metrics), cells_of(before, metrics), cells_of(row, metrics), strict=True)
    changed = ", ".join(f"{name} {old} -> {new}" for name, old, new in cells if old != new)
    return f": {changed} since the last commit" if changed else ""

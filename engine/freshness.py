"""Whether a row's numbers are still those of this code: by the hashes of what trained and of what measured it, and by its seal."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from longtake.backbones.checkpoints import FOREIGN
from longtake.console import console
from longtake.downstream.got10k import GOT10K_BOARD, GOT10K_LOCAL
from longtake.engine.boards import task_of
from longtake.engine.code_hash import UNKNOWN_TRAINING, evaluation_hash, split, training_hash, vouchers
from longtake.engine.git import git
from longtake.engine.history import committed
from longtake.leaderboards.outcomes import has_outcomes, items_hash, load_outcomes
from longtake.leaderboards.rows import board_files, metrics_of, read
from longtake.leaderboards.schema import PAPER, SEAL, Key, Row, cells_of, columns
from longtake.registry import UnknownName

STALE = "stale"


class Finding(NamedTuple):
    """The flaws of a row, a reason for each."""

    board: Path
    key: Key
    reasons: tuple[str, ...]


def verify(folders: list[Path]) -> bool:
    """Print which rows of the folders' CSVs are edited, stale or of unknown code; whether there is none.

    Rows of older code whose numbers are the same by `same_numbers.csv` are counted, with the commits that vouch for them. Raises
    `ValueError` for a file that is no leaderboard.
    """
    boards = [path for folder in folders for path in board_files(folder)]
    rows, findings = 0, list[Finding]()
    for path in boards:
        vouched: Counter[tuple[str, ...]] = Counter()
        for row in read(path, metrics_of(path)):
            rows += 1
            if found := tuple(reasons(path, row)):
                findings.append(Finding(path, row.key, found))
                _say(f"{path}: {row.key}: {'; '.join(found)}")
            else:
                vouched[vouched_by(path.stem, row)] += 1
        for commits, count in vouched.items():
            if commits:
                _say(f"{path}: {count} rows of older code with the same numbers, by {', '.join(commits)}")
    kinds = Counter(kind for _, _, found in findings for kind in {reason.partition(":")[0] for reason in found})
    for kind, count in kinds.most_common():
        _say(f"{count} rows: {kind}")
    console.print(f"{rows} rows in {len(boards)} leaderboards: {len(findings)} not as they should be")
    return not findings


def _say(line: str) -> None:
    console.print(line, soft_wrap=True)


def vouched_by(board: str, row: Row) -> tuple[str, ...]:
    """The pairs of commits (OLD..NEW) that vouch for a row of older code which has no `reasons`; () where none is needed."""
    if row.key.source.startswith(PAPER):
        return ()
    return _vouched_by(_measuring(board), _of_code_alone(row.key), row.provenance.code_hash)


@cache
def _vouched_by(evaluation: str, key: Key, code_hash: str) -> tuple[str, ...]:
    trained, evaluated = split(code_hash)
    hashes = [(evaluated, evaluation_hash(evaluation))]
    if trained != FOREIGN:
        hashes.append((trained, training_hash(key.method, key.pretrain, key.backbone, key.variant)))
    return tuple(dict.fromkeys(line.commit for old, new in hashes for line in vouchers(old, new) or ()))


def _of_code_alone(key: Key) -> Key:
    """A key without what has no part in the code: many rows are then one."""
    recipe = [word for word in key.variant.split() if word.startswith("recipe=")]
    return key._replace(seed=None, epochs=None, variant=" ".join(recipe))


def _measuring(board: str) -> str:
    """The evaluation that made a leaderboard's rows: of a test server's, the one that made the archive."""
    return GOT10K_LOCAL if board == GOT10K_BOARD else board


def reasons(path: Path, row: Row) -> Iterator[str]:
    """Why a row of the leaderboard `path` cannot be trusted, if anything."""
    if row.broken_seal:
        yield f"edited{_where(path, row)}"
    if row.key.source.startswith(PAPER):
        return
    yield from _of_code(_measuring(path.stem), _of_code_alone(row.key), row.provenance.code_hash)
    if has_outcomes(path.parent, path.stem, row.key):
        yield from _of_outcomes(path, row)


def is_stale(found: Iterable[str]) -> bool:
    """Whether one of a row's `reasons` is that today's code may give another number."""
    return any(reason.startswith(STALE) for reason in found)


@cache
def _of_code(evaluation: str, key: Key, code_hash: str) -> tuple[str, ...]:
    """Say which part of the code is not, or is not known to be, that of today."""
    trained, evaluated = split(code_hash)
    if not evaluated or trained == UNKNOWN_TRAINING:
        return ("unknown: no hash of its code",)
    found = []
    try:
        if (
            trained != FOREIGN
            and vouchers(trained, training_hash(key.method, key.pretrain, key.backbone, key.variant)) is None
        ):
            found.append(f"{STALE}: the code or recipe of {key.method} has changed")
    except UnknownName:
        found.append(f"unknown: no method is called {key.method!r}")
    try:
        task = task_of(evaluation)
    except ValueError as error:
        return (*found, f"unknown: {error}")
    if vouchers(evaluated, evaluation_hash(evaluation)) is None:
        found.append(f"{STALE}: the code or preset of {evaluation} has changed")
    if not key.protocol.strip():
        found.append("unknown: no protocol")
    elif not key.protocol.split()[0].endswith(f"-v{task.version}"):
        found.append(f"{STALE}: the protocol is version {task.version} now")
    return tuple(found)


def _of_outcomes(path: Path, row: Row) -> Iterator[str]:
    """Say what is wrong with the outcomes that were kept of a row's items."""
    try:
        outcomes = load_outcomes(path.parent, path.stem, row.key)
    except ValueError as error:
        yield f"its outcomes cannot be read: {error}"
        return
    if row.provenance.data_hash != items_hash(outcomes):
        yield "its outcomes are of other items"


def _where(path: Path, row: Row) -> str:
    """Name the columns that differ from the last commit, where that has the row."""
    head = git(path.parent, "rev-parse", "HEAD")
    before = None if head is None else _committed(path.parent, head, path.name).get(row.key)
    if before is None:
        return ""
    metrics = metrics_of(path)
    cells = zip(columns(metrics), cells_of(before, metrics), cells_of(row, metrics), strict=True)
    changed = [cell for cell in cells if cell[1] != cell[2]]
    others = [cell for cell in changed if cell[0] != SEAL]  # a commit with an older header has other seals
    texts = ", ".join(f"{name} {old} -> {new}" for name, old, new in others or changed)
    return f": {texts} since the last commit" if texts else ""


_committed = cache(committed)  # of one commit a file is always the same, and may have many edited rows

"""Find leaderboard rows: in the CSVs of a run's output and of this repository, with the paper's numbers among them."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from longtake.downstream.base import DOWNSTREAM, Downstream
from longtake.downstream.got10k import GOT10K_BOARD, SUBMITTED
from longtake.engine.config import choices, composed
from longtake.engine.git import REPOSITORY
from longtake.leaderboards.paper import ledger
from longtake.leaderboards.rows import read, upsert
from longtake.leaderboards.schema import Row

TRACKED = REPOSITORY / "leaderboards"


@cache
def task_of(evaluation: str) -> type[Downstream]:
    """The class of an evaluation. Raises `ValueError` where there is none."""
    if evaluation not in choices("eval"):
        raise ValueError(f"no evaluation is called {evaluation!r}")
    return DOWNSTREAM[composed([f"eval=[{evaluation}]"]).eval[evaluation].task]


def metrics_for(evaluation: str) -> tuple[str, ...]:
    """The metrics of an evaluation or of a test server. Raises `ValueError` where there is neither."""
    return SUBMITTED if evaluation == GOT10K_BOARD else task_of(evaluation).metrics


def primary_for(evaluation: str) -> tuple[str, ...]:
    """Those of its metrics that a comparison shows."""
    return SUBMITTED[:1] if evaluation == GOT10K_BOARD else task_of(evaluation).primary or metrics_for(evaluation)[:1]


def rows_of(evaluation: str, folders: Sequence[Path]) -> list[tuple[Path, Row]]:
    """Every row of an evaluation with the folder that it is in; of rows with one key the first folder's."""
    metrics, found = metrics_for(evaluation), dict[object, tuple[Path, Row]]()
    for folder in folders:
        for row in read(folder / f"{evaluation}.csv", metrics):
            found.setdefault(row.key, (folder, row))
    return list(found.values())


def write_ledger(folder: Path, place: Callable[[Path], Path] = lambda path: path) -> int:
    """Put the paper's numbers beside ours, in the CSV of each evaluation; how many rows there are. `place`: where to write one."""
    rows = ledger()
    for evaluation, found in rows.items():
        upsert(place(folder / f"{evaluation}.csv"), found, metrics_for(evaluation))
    return sum(map(len, rows.values()))

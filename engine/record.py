"""Turn an encoder into rows: evaluate it, keep every item's outcome, add the row, say what it means."""

import datetime
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra.core.hydra_config import HydraConfig

from longtake.backbones.finite import NotFinite, check_weights
from longtake.backbones.vit import ViT
from longtake.backbones.weights import weights_hash
from longtake.console import console
from longtake.datasets.content import Content
from longtake.downstream.base import Downstream
from longtake.engine.boards import TRACKED
from longtake.engine.code_hash import UNKNOWN_TRAINING as UNKNOWN_CODE
from longtake.engine.code_hash import evaluation_hash, same_code
from longtake.engine.git import code_commit, is_clean
from longtake.engine.words import as_typed
from longtake.leaderboards.outcomes import compare, has_outcomes, items_hash, keep_outcomes, load_outcomes
from longtake.leaderboards.render import comparison, console_table, method_name
from longtake.leaderboards.rows import read, upsert
from longtake.leaderboards.schema import Key, Provenance, Row
from longtake.leaderboards.statistics import Estimate, interval
from longtake.parallel import is_first

METRICS_SHOWN = 3  # at the end of a run; run task=leaderboard shows all


class Leaderboard(NamedTuple):
    """One evaluation and where its rows go."""

    folder: Path
    name: str
    task: Downstream
    protocol: str
    content: Content | None = None  # of the data

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.csv"


def evaluate(
    board: Leaderboard, encoder: ViT, key: Key, cost: Mapping[str, Any], trained_by: str, workdir: Path
) -> Row | None:
    """Evaluate an encoder; its row and the outcome of every item go into the leaderboard. None but in the first process.

    `trained_by` is the hash of the code that trained it. Raises `NotFinite` for an encoder that numbers cannot be made of: then
    there is no row.
    """
    try:
        check_weights(encoder.state_dict(), "the encoder")
        board.task.evaluate(encoder, workdir)
    except NotFinite as error:
        raise NotFinite(f"{board.name}, {method_name(key.method)}: {error}; there is no row") from error
    if not is_first():
        return None
    with np.load(workdir / "outcomes.npz") as file:
        outcomes = dict(file)
    provenance = Provenance(
        checkpoint_hash=weights_hash(encoder),
        code_commit=code_commit(),
        command=command_line(),
        code_hash=f"{trained_by}-{evaluation_hash(board.name)}",
        data_hash=items_hash(outcomes),
        tested_on=_tested_on(board.content, len(outcomes["items"])),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **cost,
    )
    measured = {metric: _estimate(outcomes, metric) for metric in board.task.metrics if metric in outcomes}
    if not measured:
        raise ValueError(f"{board.name}, {method_name(key.method)}: no metric has a number; there is no row")
    row = Row(key, measured, provenance)
    keep_outcomes(board.folder, board.name, key, outcomes)
    upsert(board.path, [row], board.task.metrics)
    return row


def _tested_on(content: Content | None, tested: int) -> str:
    """What was learnt from and tested on, for a row; where nobody has counted before, the items tested."""
    if content is not None and content.counts:
        return str(content)
    return f"{content.title}: {tested:,} items" if content else f"{tested:,} items"


def command_line() -> str:
    """The command of this run, one of them where it is a sweep's; "" where it was not given as one."""
    if not HydraConfig.initialized():
        return ""
    return shlex.join(["run", *as_typed(HydraConfig.get().overrides.task)])


def _estimate(outcomes: Mapping[str, np.ndarray], metric: str) -> Estimate:
    """Mean and interval over the items that count for a metric."""
    values = outcomes[metric].astype(np.float64)
    counts = ~np.isnan(values)
    return interval(values[counts], outcomes["groups"][counts] if "groups" in outcomes else None)


def known(board: Leaderboard, key: Key, trained_by: str, weights: str) -> Row | None:
    """Return the row of this key if the same code, by its hash, has measured the same `weights`; it is intact, with its outcomes.

    A published row is copied into the run's leaderboard. A row of uncommitted code does not count when the code is committed now:
    measuring again gives a row that can be published.
    """
    for folder in (board.folder, TRACKED):
        row = _made(folder, board, key, trained_by)
        if row is not None and row.provenance.checkpoint_hash == weights and _of_the_same(row, board):
            if folder != board.folder:
                keep_outcomes(board.folder, board.name, key, load_outcomes(folder, board.name, key))
                upsert(board.path, [row], board.task.metrics)
                console.print(
                    f"{method_name(key.method)}, seed {key.seed}: the published row, of the same code and weights"
                )
            return row
    return None


def _of_the_same(row: Row, board: Leaderboard) -> bool:
    """Whether a row is of the data that are there now. Rows of one protocol may not be: a published set can be changed in part."""
    return row.provenance.digest == (board.content.digest if board.content else "")


def _made(folder: Path, board: Leaderboard, key: Key, trained_by: str) -> Row | None:
    """Return the row of a folder if this code has made it and nothing of it is missing."""
    path = folder / board.path.name
    row = next((row for row in read(path, board.task.metrics) if row.key == key), None)
    if row is None or row.broken_seal or trained_by == UNKNOWN_CODE:
        return None
    of_this_code = same_code(row.provenance.code_hash, trained_by, board.name)
    better_now = not is_clean(row.provenance.code_commit) and is_clean(code_commit())
    return row if of_this_code and has_outcomes(folder, board.name, key) and not better_now else None


def print_row(board: Leaderboard, row: Row, baseline: Row | None) -> None:
    """Print the added row beside random init, and whether they differ."""
    shown = [metric for metric in board.task.metrics if metric in row.metrics][:METRICS_SHOWN]
    console.print(console_table(board.name, [row] if baseline is None else [row, baseline], shown))
    if baseline is not None:
        for metric in (m for m in board.task.primary or shown[:1] if m in row.metrics):
            try:
                difference = compare(board.folder, board.name, metric, row.key, baseline.key)
            except ValueError as error:  # the rows are there: a run of hours does not end for this
                console.print(f"{board.name} {metric}: not compared with random init: {error}", soft_wrap=True)
                continue
            console.print(comparison(board.name, metric, row, baseline, difference))

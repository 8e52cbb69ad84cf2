"""From an encoder to rows: evaluate, keep every item's outcome, add the row, say what it means."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from longtake.backbones.vit import ViT
from longtake.backbones.weights import weights_hash
from longtake.console import console
from longtake.downstream.base import Downstream
from longtake.leaderboards.outcomes import compare, outcomes_path, save_outcomes
from longtake.leaderboards.publish import DIRTY, UNKNOWN, code_commit
from longtake.leaderboards.render import comparison, console_table
from longtake.leaderboards.rows import Key, Provenance, Row, read, upsert
from longtake.leaderboards.statistics import interval

METRICS_SHOWN = 3  # at the end of a run; run task=leaderboard shows all


class Board(NamedTuple):
    """One evaluation and where its rows go."""

    folder: Path
    name: str
    task: Downstream
    protocol: str

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.csv"


def evaluate(board: Board, encoder: ViT, key: Key, cost: Mapping[str, Any], workdir: Path) -> Row:
    """Evaluate an encoder; its row and the outcome of every item go into the leaderboard."""
    board.task.evaluate(encoder, workdir)
    with np.load(workdir / "outcomes.npz") as file:
        outcomes = dict(file)
    provenance = Provenance(
        checkpoint_hash=weights_hash(encoder),
        code_commit=code_commit(),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **cost,
    )
    row = Row(key, {metric: interval(outcomes[metric].astype(np.float64)) for metric in board.task.metrics}, provenance)
    save_outcomes(board.folder, board.name, key, outcomes)
    upsert(board.path, [row], board.task.metrics)
    return row


def known(board: Board, key: Key) -> Row | None:
    """The row of this key when this very code has made it before, outcomes and all."""
    commit = code_commit()
    rows = {row.key: row for row in read(board.path, board.task.metrics) if row.provenance.code_commit == commit}
    fresh = not commit.endswith(DIRTY) and commit != UNKNOWN and outcomes_path(board.folder, board.name, key).exists()
    return rows.get(key) if fresh else None


def report(board: Board, row: Row, baseline: Row | None) -> None:
    """Print the added row beside random init, and whether they differ."""
    shown = board.task.metrics[:METRICS_SHOWN]
    console.print(console_table(board.name, [row] if baseline is None else [row, baseline], shown))
    if baseline is not None:
        difference = compare(board.folder, board.name, shown[0], row.key, baseline.key)
        console.print(comparison(board.name, shown[0], row, baseline, difference))

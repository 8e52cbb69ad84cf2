"""The paper's numbers stand in the committed leaderboards, exactly as the ledger has them."""

from pathlib import Path

import pytest

from longtake.engine.boards import TRACKED, metrics_for, rows_of, write_ledger
from longtake.leaderboards.paper import ledger
from longtake.leaderboards.rows import board_files, metrics_of, read


def test_committed_leaderboards_hold_the_ledger() -> None:
    committed = {path.stem: read(path, metrics_of(path)) for path in board_files(TRACKED)}
    found = {name: {r.key: r.metrics for r in rows if r.key.source != "run"} for name, rows in committed.items()}
    assert {name: rows for name, rows in found.items() if rows} == {
        name: {row.key: row.metrics for row in rows} for name, rows in ledger().items()
    }
    assert not [row for rows in committed.values() for row in rows if row.broken_seal]


def test_writing_the_ledger_again_changes_nothing(tmp_path: Path) -> None:
    assert write_ledger(tmp_path) == write_ledger(tmp_path) == sum(map(len, ledger().values()))
    for name in ledger():
        paper = [row for _, row in rows_of(name, [TRACKED]) if row.key.source != "run"]
        assert [row for _, row in rows_of(name, [tmp_path])] == paper


def test_the_first_folder_wins(tmp_path: Path) -> None:
    write_ledger(tmp_path)
    assert {folder for folder, _ in rows_of("davis2017", [tmp_path, TRACKED])} == {tmp_path}


def test_unknown_evaluation_is_named() -> None:
    with pytest.raises(ValueError, match="no evaluation is called 'knn_moon'"):
        metrics_for("knn_moon")

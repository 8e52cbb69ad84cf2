"""A row is made once by the same code: known again over commits, not when it is edited, stale or without outcomes."""

from pathlib import Path

import numpy as np
import pytest
from made_rows import make_key

from longtake.downstream.base import DOWNSTREAM
from longtake.engine import record
from longtake.engine.code_hash import evaluation_hash
from longtake.engine.record import Leaderboard, known
from longtake.leaderboards.outcomes import keep_outcomes, outcomes_path
from longtake.leaderboards.rows import read, upsert
from longtake.leaderboards.schema import Provenance, Row
from longtake.leaderboards.statistics import Estimate

KNN = DOWNSTREAM["knn"]
KEY = make_key("dora")
OUTCOMES = {"items": np.array(["a", "b"]), "top1_k20": np.array([1.0, 0.0])}


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Leaderboard:
    monkeypatch.setattr(record, "code_commit", lambda: "1111111111")
    monkeypatch.setattr(record, "TRACKED", tmp_path / "published")
    made(tmp_path)
    return Leaderboard(tmp_path, "knn_mini", KNN(preset="knn-mini", root="mini"), KEY.protocol)


def made(folder: Path, commit: str = "0000000000", training: str = "training") -> Row:
    proof = Provenance(
        checkpoint_hash="weights", code_commit=commit, code_hash=f"{training}-{evaluation_hash('knn_mini')}"
    )
    row = Row(KEY, {"top1_k20": Estimate(50.0, 0.0, 100.0)}, proof)
    upsert(folder / "knn_mini.csv", [row], KNN.metrics)
    keep_outcomes(folder, "knn_mini", KEY, OUTCOMES)
    return row


def test_the_same_code_of_another_commit_is_known(board: Leaderboard) -> None:
    found = known(board, KEY, "training", "weights")
    assert found is not None
    assert found.metrics["top1_k20"].value == 50.0


@pytest.mark.parametrize("trained_by", ["other", "unknown"])
def test_other_and_unknown_code_is_not(board: Leaderboard, trained_by: str) -> None:
    if trained_by == "unknown":
        made(board.folder, training="unknown")
    assert known(board, KEY, trained_by, "weights") is None


def test_another_key_is_not(board: Leaderboard) -> None:
    assert known(board, KEY._replace(seed=1), "training", "weights") is None


def test_other_weights_are_not(board: Leaderboard) -> None:
    assert known(board, KEY, "training", "others") is None


def test_a_published_row_is_taken_over_with_its_outcomes(board: Leaderboard) -> None:
    board.path.unlink()
    assert known(board, KEY, "training", "weights") is None
    published = made(board.folder / "published")
    outcomes_path(board.folder, "knn_mini", KEY).unlink()
    assert known(board, KEY, "training", "weights") == published
    assert read(board.path, KNN.metrics) == [published]
    assert outcomes_path(board.folder, "knn_mini", KEY).exists()


def test_without_outcomes_it_is_measured_again(board: Leaderboard) -> None:
    outcomes_path(board.folder, "knn_mini", KEY).unlink()
    assert known(board, KEY, "training", "weights") is None


def test_an_edited_row_is_measured_again(board: Leaderboard) -> None:
    board.path.write_text(board.path.read_text().replace("50.0", "60.0"))
    assert known(board, KEY, "training", "weights") is None


@pytest.mark.parametrize("before", ["0000000000+dirty", "unknown"])
def test_what_cannot_be_published_is_measured_again_by_code_that_can(
    board: Leaderboard, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(board.folder, before)
    assert known(board, KEY, "training", "weights") is None
    monkeypatch.setattr(record, "code_commit", lambda: "1111111111+dirty")
    assert known(board, KEY, "training", "weights") is not None

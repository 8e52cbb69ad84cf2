"""A row is made once by the same code: known again over commits, not when it is edited, stale or without outcomes."""

from pathlib import Path

import numpy as np
import pytest
from made_rows import make_key

from longtake.backbones.vit import ViT
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


def spoilt(name: str, value: float) -> ViT:
    encoder = ViT("mini", 8, 16)
    encoder.get_parameter(name).data.flatten()[5] = value
    return encoder


COST = {"config_hash": "c", "frames_seen": 1, "hours": 0.1, "peak_memory_gb": 1.0, "device": "cpu"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["pos_embed", "blocks.2.attn.qkv.weight", "norm.bias"])
def test_an_encoder_that_is_not_finite_has_no_row(board: Leaderboard, tmp_path: Path, name: str, value: float) -> None:
    board.path.unlink()
    said = rf"^knn_mini, dora: the encoder: tensor {name} has 1 of \d+ values that are not finite .*; there is no row$"
    with pytest.raises(ValueError, match=said):
        record.evaluate(board, spoilt(name, value), KEY, COST, "training", tmp_path / "work")
    assert not board.path.exists()


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ({"top1_k20": [1.0, np.inf]}, "finite"),
        ({"top1_k20": [np.nan, np.nan]}, "finite"),
        ({}, "no metric has a number; there is no row"),
    ],
)
def test_numbers_of_an_evaluation_that_are_not_finite_make_no_row(
    board: Leaderboard, tmp_path: Path, outcomes: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation of another package may write them by itself."""

    def evaluate(task: object, encoder: object, workdir: Path) -> dict[str, float]:
        workdir.mkdir()
        np.savez(workdir / "outcomes.npz", items=np.array(["a", "b"]), **outcomes)
        return {}

    board.path.unlink()
    outcomes_path(board.folder, "knn_mini", KEY).unlink()
    monkeypatch.setattr(KNN, "evaluate", evaluate)
    with pytest.raises(ValueError, match=message), np.errstate(all="ignore"):
        record.evaluate(board, ViT("mini", 8, 16), KEY, COST, "training", tmp_path / "work")
    assert not board.path.exists()
    assert not outcomes_path(board.folder, "knn_mini", KEY).exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_row_of_numbers_that_are_not_finite_is_never_written(board: Leaderboard, value: float) -> None:
    before = board.path.read_bytes()
    for estimate in (Estimate(value), Estimate(50.0, 0.0, value), Estimate(value, value, value)):
        with pytest.raises(ValueError, match="expected a finite number"):
            upsert(board.path, [Row(KEY, {"top1_k20": estimate}, Provenance())], KNN.metrics)
    with pytest.raises(ValueError, match="expected a finite number"):
        upsert(board.path, [Row(KEY, {}, Provenance(hours=value))], KNN.metrics)
    assert board.path.read_bytes() == before

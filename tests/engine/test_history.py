"""`run task=leaderboard diff=REV` names every changed cell and what the change comes from."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from made_rows import make_rows

from longtake.engine.boards import metrics_for
from longtake.engine.history import diff
from longtake.leaderboards.rows import upsert
from longtake.leaderboards.schema import Row
from longtake.leaderboards.statistics import Estimate

KNN, METRICS = "knn_mini", metrics_for("knn_mini")


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    """A repository with a committed leaderboard of two methods."""
    folder = tmp_path / "leaderboards"
    make_rows(folder, {"dino": 0.5, "dora": 0.6}, seeds=1)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    commit(tmp_path)
    return folder


def commit(repository: Path) -> None:
    subprocess.run(["git", "-C", repository, "add", "-A"], check=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", repository, *who, "commit", "-qm", "rows"], check=True)


def changed(boards: Path, score: float = 70.0, **proof: str) -> Row:
    (row,) = make_rows(boards, {"dora": 0.6}, seeds=1)
    new = Row(row.key, {"top1_k20": Estimate(score, 60, 80)}, row.provenance._replace(**proof))
    upsert(boards / f"{KNN}.csv", [new], METRICS)
    return new


def test_nothing_changed(boards: Path) -> None:
    assert diff(boards, "HEAD") == []


@pytest.mark.parametrize(
    ("proof", "why"),
    [
        ({"code_hash": "x-y"}, "of other code"),
        ({"data_hash": "x", "checkpoint_hash": "y"}, "of other test items and another encoder"),
        ({"config_hash": "x"}, "of another configuration"),
        ({}, "with the same code, items, configuration and encoder: another machine or chance"),
    ],
)
def test_a_changed_score_says_why(boards: Path, proof: dict[str, str], why: str) -> None:
    changed(boards, **proof)
    (change,) = diff(boards, "HEAD")
    assert (change.kind, change.key.method, change.why) == ("changed", "dora", why)
    assert change.cells["top1_k20"][1] == "70.0"
    assert set(change.cells) == {"top1_k20", "top1_k20_low", "top1_k20_high", *proof}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("paper:table5", "another number read from the paper"),
        ("server:got-10k.aitestunion.com", "another answer of the test server"),
    ],
)
def test_a_number_that_no_run_made_says_where_it_is_from(boards: Path, source: str, why: str) -> None:
    (row,) = make_rows(boards, {"dora": 0.6}, seeds=1, source=source)
    commit(boards.parent)
    upsert(boards / f"{KNN}.csv", [Row(row.key, {"top1_k20": Estimate(70.0)}, row.provenance)], METRICS)
    (change,) = diff(boards, "HEAD")
    assert change.why == why


def test_a_hand_edited_cell_is_called_so(boards: Path) -> None:
    path = boards / f"{KNN}.csv"
    before = next(line for line in path.read_text().splitlines() if line.startswith("dora"))
    score = before.split(",")[8]
    path.write_text(path.read_text().replace(score, "61.5"))
    (change,) = diff(boards, "HEAD")
    assert change.why == "edited by hand: its seal is broken"
    assert change.cells["top1_k20"] == (score, "61.5")
    assert f"top1_k20: {score} -> 61.5" in str(change)


def test_added_and_removed_rows_and_two_revisions(boards: Path) -> None:
    (boards / f"{KNN}.csv").unlink()
    make_rows(boards, {"ibot": 0.5}, seeds=1)
    commit(boards.parent)
    expected = [("dino", "removed"), ("dora", "removed"), ("ibot", "added")]
    for revisions in ("HEAD~1", "HEAD~1..HEAD", "HEAD~1.."):
        assert [(change.key.method, change.kind) for change in diff(boards, revisions)] == expected
    assert diff(boards, "HEAD") == []
    assert [change.kind for change in diff(boards, "HEAD..HEAD~1")] == ["added", "added", "removed"]


def test_the_same_numbers_made_again(boards: Path) -> None:
    (row,) = make_rows(boards, {"dora": 0.6}, seeds=1)
    assert diff(boards, "HEAD") == []
    new = Row(row.key, row.metrics, row.provenance._replace(date="2027-01-01"))
    upsert(boards / f"{KNN}.csv", [new], METRICS)
    (change,) = diff(boards, "HEAD")
    assert (change.why, list(change.cells)) == ("the same numbers, made again", ["date"])


@pytest.mark.parametrize("revision", ["moon", "--help", "HEAD..moon"])
def test_an_unknown_revision_is_named(boards: Path, revision: str) -> None:
    with pytest.raises(ValueError, match="expected a commit"):
        diff(boards, revision)


@pytest.mark.parametrize("revisions", ["..", "..HEAD"])
def test_a_range_needs_its_older_end(boards: Path, revisions: str) -> None:
    with pytest.raises(ValueError, match=f"diff: got '{revisions}', expected REV or OLD..NEW"):
        diff(boards, revisions)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: b"<<<<<<< HEAD\n" + text, "line 1, column 'method': got merge conflict '<<<<<<< HEAD'"),
        (lambda text: text[:-1], "line 3, column 'seal': .* cut short"),
        (
            lambda text: text.replace(b"dora", b"d\xffra"),
            r"line 3, column 'method': got 'd\\udcffra', expected .* UTF-8",
        ),
    ],
    ids=["conflict", "cut", "bytes"],
)
def test_a_broken_file_of_a_commit_is_named(boards: Path, edit: Callable[[bytes], bytes], message: str) -> None:
    path = boards / f"{KNN}.csv"
    good = path.read_bytes()
    path.write_bytes(edit(good))
    commit(boards.parent)
    path.write_bytes(good)
    commit(boards.parent)
    for revisions in ("HEAD~1", "HEAD~2..HEAD~1", "HEAD~1..HEAD"):
        with pytest.raises(ValueError, match=f"^HEAD~1:{KNN}.csv: {message}"):
            diff(boards, revisions)

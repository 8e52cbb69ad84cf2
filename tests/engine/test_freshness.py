"""`run task=leaderboard verify=true`: rows of this code pass; edited, stale and unknown ones are named."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from longtake.console import console
from longtake.downstream.base import DOWNSTREAM
from longtake.downstream.got10k import GOT10K_BOARD, GOT10K_LOCAL, GOT10K_SOURCE, SUBMITTED
from longtake.engine import code_hash, freshness
from longtake.engine.boards import task_of
from longtake.engine.code_hash import evaluation_hash, training_hash
from longtake.engine.config import plainly
from longtake.engine.freshness import verify
from longtake.leaderboards.outcomes import items_hash, keep_outcomes
from longtake.leaderboards.rows import upsert
from longtake.leaderboards.same_numbers import Equivalence
from longtake.leaderboards.schema import Key, Provenance, Row
from longtake.leaderboards.statistics import Estimate

KNN = "knn_mini"
OUTCOMES = {"items": np.array(["a.jpg", "b.jpg", "c.jpg"]), "top1_k20": np.array([1.0, 0.0, 1.0])}
TRAINED = training_hash("dora", "mini", "vit_mini_8")


def fresh(method: str = "dora", **changes: str) -> Row:
    training = "foreign" if method == "external" else training_hash(method, "mini", "vit_mini_8")
    code = f"{training}-{evaluation_hash(KNN)}"
    provenance = Provenance(code_hash=code, data_hash=items_hash(OUTCOMES))._replace(**changes)
    key = Key(method, "", "mini", "vit_mini_8", 26, "knn-mini-v1", 0, "run")
    return Row(key, {"top1_k20": Estimate(66.7, 33.3, 100.0)}, provenance)


def elsewhere(row: Row, **changes: str) -> Row:
    """A row whose key only another installation would write."""
    return Row(row.key._replace(**changes), row.metrics, row.provenance)


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    """The code changes while the tests run; that of a process does not."""
    freshness._of_code.cache_clear()
    yield
    freshness._of_code.cache_clear()


def written(folder: Path, *rows: Row, board: str = KNN) -> Path:
    upsert(folder / f"{board}.csv", rows, DOWNSTREAM["knn"].metrics)
    return folder


def said(folder: Path) -> tuple[bool, str]:
    with console.capture() as captured:
        well = verify([folder])
    return well, " ".join(captured.get().split())


def test_rows_of_this_code_pass(tmp_path: Path) -> None:
    rows = [fresh(), fresh("none"), fresh("external")]
    assert said(written(tmp_path, *rows)) == (True, "3 rows in 1 leaderboards: 0 not as they should be")


def test_numbers_of_a_paper_need_a_seal_only(tmp_path: Path) -> None:
    key = Key("dora", "", "wt_venice", "vit_small_16", 100, "paper", None, "paper:table5")
    written(tmp_path, Row(key, {"top1_k20": Estimate(33.8)}, Provenance()))
    assert said(tmp_path)[0]
    path = tmp_path / f"{KNN}.csv"
    path.write_text(path.read_text().replace("33.8", "38.3"))
    assert not said(tmp_path)[0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (fresh(code_hash=""), "unknown: no hash of its code"),
        (fresh(code_hash=f"unknown-{evaluation_hash(KNN)}"), "unknown: no hash of its code"),
        (fresh(code_hash=f"{TRAINED}-0123456789ab"), "stale: the code or preset of knn_mini has changed"),
        (fresh("ibot", code_hash=fresh("dino").provenance.code_hash), "stale: the code or recipe of ibot has changed"),
        (elsewhere(fresh("dino"), method="newmethod"), "unknown: no method is called 'newmethod'"),
        (elsewhere(fresh("dino"), method="base"), "unknown: no method is called 'base'"),
        (elsewhere(fresh(), protocol=""), "unknown: no protocol"),
        (elsewhere(fresh(), protocol=" "), "unknown: no protocol"),
    ],
)
def test_stale_rows_are_named(tmp_path: Path, row: Row, reason: str) -> None:
    well, text = said(written(tmp_path, row, fresh("simclr")))
    assert not well
    assert reason in text
    assert "2 rows in 1 leaderboards: 1 not as they should be" in text


def test_a_changed_constant_of_the_loss_makes_rows_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, fresh("dora"), fresh("none"))
    changed = (code_hash.REPOSITORY / "methods" / "dora.py").read_text() + "\nWEIGHT = 2.0\n"
    (tmp_path / "dora.py").write_text(changed)
    file_of = code_hash._file
    monkeypatch.setattr(
        code_hash, "_file", lambda cls: tmp_path / "dora.py" if cls.__name__ == "DoRA" else file_of(cls)
    )
    code_hash._training_hash.cache_clear()
    try:
        well, text = said(tmp_path)
    finally:
        code_hash._training_hash.cache_clear()
    assert not well
    assert "stale: the code or recipe of dora has changed" in text
    assert "1 not as they should be" in text


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("method.num_objects", 4, "stale: the code or recipe of dora has changed"),
        ("batch_size", 48, "stale: the code or recipe of dora has changed"),
        ("eval.knn_mini.size", 32, "stale: the code or preset of knn_mini has changed"),
        ("eval.knn_mini.batch_size", 1, None),  # how fast, not what
        ("epochs", 7, None),  # the row's key has them
    ],
)
def test_a_changed_yaml_makes_rows_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: int, reason: str | None
) -> None:
    written(tmp_path, fresh("dora"))

    def changed(words: list[str]) -> dict:
        config = place = plainly(words)
        *names, last = key.split(".")
        for name in names:
            place = place.get(name, {})
        if last in place:
            place[last] = value
        return config

    monkeypatch.setattr(code_hash, "plainly", changed)
    hashes = (code_hash._training_hash, code_hash.evaluation_hash)
    for hashed in hashes:
        hashed.cache_clear()
    try:
        well, text = said(tmp_path)
    finally:
        for hashed in hashes:
            hashed.cache_clear()
    assert well is (reason is None)
    assert reason is None or reason in text


def test_random_init_knows_of_its_backbone_alone() -> None:
    assert training_hash("none", "none", "vit_mini_8") == training_hash("none", "wt_venice", "vit_mini_8")
    assert training_hash("none", "none", "vit_mini_8") != training_hash("none", "none", "vit_small_16")
    assert training_hash("dora", "mini", "vit_mini_8") != training_hash("dora", "wt_venice", "vit_mini_8")
    assert training_hash("dora", "a.mp4", "vit_mini_8") == training_hash("dora", "b.mp4", "vit_mini_8")


def test_the_answer_of_a_test_server_is_of_the_code_that_made_its_archive(tmp_path: Path) -> None:
    local = f"{TRAINED}-{evaluation_hash(GOT10K_LOCAL)}"
    task = task_of(GOT10K_LOCAL)
    key = fresh().key._replace(protocol=f"seqtrack-v{task.version}", source=GOT10K_SOURCE)
    upsert(tmp_path / f"{GOT10K_BOARD}.csv", [Row(key, {}, Provenance(code_hash=local))], SUBMITTED)
    assert said(tmp_path)[0]
    upsert(tmp_path / f"{GOT10K_BOARD}.csv", [Row(key, {}, Provenance(code_hash=f"{local[:-1]}x"))], SUBMITTED)
    assert f"stale: the code or preset of {GOT10K_LOCAL} has changed" in said(tmp_path)[1]


def test_a_flipped_digit_is_named_with_its_column(tmp_path: Path) -> None:
    written(tmp_path, fresh(), fresh("simclr"))
    git = [
        "git",
        "-C",
        str(tmp_path),
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.org",
        "-c",
        "commit.gpgsign=false",
    ]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "rows"]):
        subprocess.run([*git, *words], check=True)
    path = tmp_path / f"{KNN}.csv"
    path.write_text(path.read_text().replace("66.7", "76.7", 1))
    well, text = said(tmp_path)
    assert not well
    assert "edited: top1_k20 66.7 -> 76.7 since the last commit" in text


def test_another_version_of_the_protocol_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, fresh())
    monkeypatch.setattr(DOWNSTREAM["knn"], "version", 2)
    assert "stale: the protocol is version 2 now" in said(tmp_path)[1]


def test_outcomes_of_other_items_are_named(tmp_path: Path) -> None:
    written(tmp_path, fresh())
    keep_outcomes(tmp_path, KNN, fresh().key, {**OUTCOMES, "items": np.array(["a.jpg", "b.jpg", "d.jpg"])})
    assert "its outcomes are of other items" in said(tmp_path)[1]
    keep_outcomes(tmp_path, KNN, fresh().key, OUTCOMES)
    assert said(tmp_path)[0]


def test_outcomes_that_cannot_be_read_are_a_reason_of_their_row(tmp_path: Path) -> None:
    written(tmp_path, fresh(), fresh("simclr"))
    path = keep_outcomes(tmp_path, KNN, fresh().key, OUTCOMES)
    path.write_bytes(path.read_bytes()[:200])
    well, text = said(tmp_path)
    assert not well
    assert f"its outcomes cannot be read: {path}: got a damaged file" in text
    assert "2 rows in 1 leaderboards: 1 not as they should be" in text


def test_a_line_of_same_numbers_keeps_a_row_fresh_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = f"0123456789ab-{evaluation_hash(KNN)}"
    written(tmp_path, fresh(), fresh("simclr", code_hash=older))
    assert not said(tmp_path)[0]
    line = Equivalence(
        "0123456789ab", training_hash("simclr", "mini", "vit_mini_8"), "training", "c0ffee..decade", "d1ce"
    )
    monkeypatch.setattr(code_hash, "_equivalences", lambda: [line])
    freshness._of_code.cache_clear()
    freshness._vouched_by.cache_clear()
    well, text = said(tmp_path)
    assert well
    assert "1 rows of older code with the same numbers, by c0ffee..decade" in text


def test_findings_are_counted_by_their_kind(tmp_path: Path) -> None:
    text = said(
        written(tmp_path, fresh(code_hash=""), fresh("simclr", code_hash=f"{TRAINED}-0123456789ab"), fresh("dino"))
    )[1]
    assert "1 rows: unknown" in text
    assert "1 rows: stale" in text

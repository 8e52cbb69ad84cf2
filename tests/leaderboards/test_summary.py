"""Seeds are pooled, encoders of one budget are ranked among themselves, the paper's numbers are found."""

from pathlib import Path

import numpy as np
import pytest
from made_rows import FRAMES, make_key, make_rows

from longtake.boards import metrics_for, rows_of
from longtake.leaderboards.aggregate import pooled
from longtake.leaderboards.outcomes import load_outcomes, outcomes_path
from longtake.leaderboards.rows import upsert
from longtake.leaderboards.schema import Key, Provenance, Row
from longtake.leaderboards.statistics import Estimate
from longtake.leaderboards.summary import Entry, papers, summarize

KNN, METRIC = "knn_mini", "top1_k20"


def summary(folder: Path) -> dict[str, Entry]:
    return {e.key.method: e for e in summarize(KNN, rows_of(KNN, [folder]), metrics_for(KNN))}


def test_seeds_are_pooled_over_their_items(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, {"dino": 0.6}, seeds=3)
    entry = summary(tmp_path)["dino"]
    expected = pooled(np.stack([load_outcomes(tmp_path, KNN, row.key)[METRIC] for row in rows]))
    assert entry.seeds == [0, 1, 2]
    assert entry.key == make_key("dino", None)
    assert entry.scores[METRIC][:4] == (expected.value, expected.low, expected.high, expected.seeds_std)


def test_one_seed_keeps_the_interval_of_its_row(tmp_path: Path) -> None:
    (row,) = make_rows(tmp_path, {"dino": 0.6}, seeds=1)
    score = summary(tmp_path)["dino"].scores[METRIC]
    assert score[:4] == (*row.metrics[METRIC], None)


def test_without_outcomes_there_is_a_mean_and_no_interval(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, {"dino": 0.6})
    outcomes_path(tmp_path, KNN, rows[0].key).unlink()
    score = summary(tmp_path)["dino"].scores[METRIC]
    values = [row.metrics[METRIC].value for row in rows]
    assert score.value == pytest.approx(np.mean(values))
    assert score.seeds_std == pytest.approx(np.std(values, ddof=1))
    assert (score.low, score.letters) == (None, "")


def test_letters_and_ranks_are_among_those_of_one_budget(tmp_path: Path) -> None:
    skills = {"none": 0.1, "dino": 0.5, "ibot": 0.5, "dora": 0.9, "vicreg": 0.95}
    make_rows(tmp_path, skills, seeds=4, frames={"dora": FRAMES + 500, "vicreg": 10 * FRAMES})
    found = {name: entry.scores[METRIC] for name, entry in summary(tmp_path).items()}
    assert [found[name].letters for name in ("dora", "dino", "ibot", "none")] == ["a", "b", "b", "c"]
    assert [found[name].ranks for name in ("dora", "dino", "ibot", "none")] == [(1, 1), (2, 3), (2, 3), (4, 4)]
    assert {found[name].num_ranked for name in ("dora", "dino", "ibot", "none")} == {4}
    assert (found["vicreg"].ranks, found["vicreg"].num_ranked) == ((1, 1), 2)  # with random init alone
    assert [name for name, score in found.items() if score.leads] == ["dora", "vicreg"]


def test_other_test_items_are_not_ranked(tmp_path: Path) -> None:
    make_rows(tmp_path, {"none": 0.1, "dino": 0.5})
    make_rows(tmp_path, {"dora": 0.9}, items=300)
    found = {name: entry.scores[METRIC].letters for name, entry in summary(tmp_path).items()}
    assert found == {"none": "b", "dino": "a", "dora": ""}


def test_the_papers_number_of_an_encoder_is_the_first_tables(tmp_path: Path) -> None:
    keys = [Key("dora", "", "mini", "vit_mini_8", 6, "paper", None, f"paper:table{n}") for n in (2, 5)]
    rows = [Row(key, {METRIC: Estimate(value)}, Provenance()) for key, value in zip(keys, (44.5, 45.4), strict=True)]
    upsert(tmp_path / f"{KNN}.csv", rows, metrics_for(KNN))
    make_rows(tmp_path, {"dora": 0.5})
    entries = summarize(KNN, rows_of(KNN, [tmp_path]), metrics_for(KNN))
    (ours,) = [entry for entry in entries if not entry.is_paper]
    assert papers(entries) == {(ours.identity, METRIC): 44.5}

"""Seeds are pooled, encoders of one budget are ranked among themselves, the paper's numbers are found."""

from pathlib import Path

import numpy as np
import pytest
from made_rows import FRAMES, make_key, make_rows

from longtake.engine.boards import metrics_for, rows_of
from longtake.leaderboards.aggregate import pooled
from longtake.leaderboards.outcomes import load_outcomes, outcomes_path
from longtake.leaderboards.rows import upsert
from longtake.leaderboards.schema import Key, Provenance, Row
from longtake.leaderboards.statistics import Estimate
from longtake.leaderboards.summary import Entry, Placing, papers, summarize

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
    expected = {"dora": ("a", (1, 1)), "dino": ("b", (2, 3)), "ibot": ("b", (2, 3)), "none": ("c", (4, 4))}
    assert {name: found[name].places[0] for name in expected} == {
        n: Placing(*place, 4) for n, place in expected.items()
    }
    assert [name for name, score in found.items() if score.leads] == ["dora", "vicreg"]
    # The other budget has random init alone beside it, which has a place in both.
    assert found["vicreg"].place == Placing("a", (1, 1), 2)
    assert found["none"].places == {0: Placing("c", (4, 4), 4), 1: Placing("b", (2, 2), 2)}
    assert (found["none"].place, found["none"].letters) == (None, "")


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
    assert papers(entries) == {make_key("dora", None): {METRIC: 44.5}}


def test_a_table_without_epochs_stands_beside_any(tmp_path: Path) -> None:
    key = Key("dora", "", "mini", "vit_mini_8", None, "paper", None, "paper:table11")
    upsert(tmp_path / f"{KNN}.csv", [Row(key, {METRIC: Estimate(98.8)}, Provenance())], metrics_for(KNN))
    make_rows(tmp_path, {"dora": 0.5, "none": 0.1})
    entries = summarize(KNN, rows_of(KNN, [tmp_path]), metrics_for(KNN))
    assert papers(entries) == {make_key("dora", None): {METRIC: 98.8}, make_key("none", None): {}}


def test_a_test_servers_answer_is_ours(tmp_path: Path) -> None:
    make_rows(tmp_path, {"dora": 0.5}, source="server:got-10k.aitestunion.com")
    assert not summary(tmp_path)["dora"].is_paper


@pytest.mark.parametrize("value", ["93.0", ""])
def test_edited_rows_are_ranked_with_nobody(tmp_path: Path, value: str) -> None:
    dino, *_ = make_rows(tmp_path, {"dino": 0.5, "ibot": 0.3, "none": 0.1})
    path, triple = tmp_path / f"{KNN}.csv", ",".join(map(repr, dino.metrics[METRIC]))
    text = path.read_text()
    assert triple in text
    path.write_text(text.replace(triple, ",".join([value, "", ""]), 1))
    found = summary(tmp_path)
    assert [name for name, entry in found.items() if entry.edited] == ["dino"]
    assert found["dino"].scores[METRIC].places == {}
    assert {name: found[name].scores[METRIC].letters for name in ("ibot", "none")} == {"ibot": "a", "none": "b"}

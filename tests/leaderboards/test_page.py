"""The page is one file without a request, and its data are the rows; `test_browser.py` looks at it in a browser."""

import json
import re
from pathlib import Path

from made_rows import make_rows

from longtake.engine.boards import metrics_for, rows_of
from longtake.leaderboards.overview import Column, overview
from longtake.leaderboards.page import EvaluationEntries, page
from longtake.leaderboards.rows import upsert
from longtake.leaderboards.schema import Key, Provenance, Row
from longtake.leaderboards.statistics import Estimate
from longtake.leaderboards.summary import summarize

KNN, METRIC = "knn_mini", "top1_k20"
NASTY = '</script><img src=x onerror=alert(1)>=cmd"'


def made(folder: Path, **changes: object) -> str:
    make_rows(folder, {"none": 0.1, "dino": 0.5}, **changes)
    paper = Key("dino", "", "mini", "vit_mini_8", 6, "paper", None, "paper:table5")
    upsert(folder / f"{KNN}.csv", [Row(paper, {METRIC: Estimate(48.0)}, Provenance(note="a"))], metrics_for(KNN))
    rows = rows_of(KNN, [folder])
    entries = summarize(KNN, rows, metrics_for(KNN))
    stale = {
        row.key: ["stale: the code of dino has changed"]
        for _, row in rows
        if row.key.method == "dino" and row.key.seed == 1
    }
    columns = [Column(KNN, METRIC)]
    board = EvaluationEntries(KNN, metrics_for(KNN), METRIC, entries, stale)
    return page([board], overview({columns[0]: entries}), columns, {}, "about")


def data(html: str) -> dict:
    (found,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', html, re.DOTALL)
    return json.loads(found)


def test_it_asks_for_nothing(tmp_path: Path) -> None:
    html = made(tmp_path)
    assert "default-src 'none'" in html
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", html)
    assert not re.search(r"https?://", html)


def test_a_task_says_how_many_seeds_it_has(tmp_path: Path) -> None:
    assert data(made(tmp_path))["overview"]["columns"] == [[KNN, METRIC, "3 seeds"]]


def test_its_data_are_the_entries(tmp_path: Path) -> None:
    (board,) = data(made(tmp_path))["boards"]
    dino, paper, none = sorted(board["rows"], key=lambda row: (row["method"], row["source"] != "run"))
    assert dino["scores"][METRIC]["places"] == {"0": {"letters": "a", "ranks": [1, 1], "of": 2}}
    assert dino["beside"] == {METRIC: 48.0}
    assert dino["stale"] == ["stale: the code of dino has changed"]
    assert dino["seeds"] == "0, 1, 2"
    assert dino["command"] == "run method=dino pretrain=mini seed=0"
    assert paper["paper"]
    assert (none["label"], none["stale"], none["beside"]) == ("random init", [], {})
    assert board["budgets"] == ["12,672 frames, vit_mini_8, knn-mini-v1"]
    assert dino["budgets"] == none["budgets"] == [0]


def test_names_are_no_markup(tmp_path: Path) -> None:
    html = made(tmp_path, variant=NASTY)
    assert NASTY not in html
    assert html.count("</script>") == 2
    assert NASTY in {row["variant"] for row in data(html)["boards"][0]["rows"]}

"""`run task=leaderboard`: what it shows and writes, and README's table."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_rows import make_rows

from longtake.console import console
from longtake.leaderboards.rows import metrics_of, read, upsert
from longtake.leaderboards.summary import Placing
from longtake.tasks import leaderboard as report
from longtake.tasks.leaderboard import README, compared, leaderboard, loss_curves, with_blocks


def said(folder: Path, evaluations: list[str] | None = None) -> str:
    with console.capture() as captured:
        leaderboard(folder, evaluations)
    return captured.get()


def test_readmes_tables_are_those_of_the_published_rows() -> None:
    text = README.read_text(encoding="utf-8")
    assert report.BLOCK.search(text)
    assert with_blocks(text) == text, "make it anew: run task=leaderboard readme=true"


def test_a_document_is_changed_between_its_marks_alone(tmp_path: Path) -> None:
    make_rows(tmp_path, {"none": 0.1, "dora": 0.5})
    text = "before\n<!-- leaderboard: mini -->\nold\n<!-- end of leaderboard -->\nafter\n"
    new = with_blocks(text, tmp_path)
    assert new.startswith("before\n<!-- leaderboard: mini -->\n\n|  | dora | random init |\n")
    assert new.endswith("\n<!-- end of leaderboard -->\nafter\n")
    assert "knn_mini" in new
    assert "old" not in new
    assert with_blocks(new, tmp_path) == new


def test_it_shows_ours_and_writes_everything(tmp_path: Path) -> None:
    folder = tmp_path / "leaderboards"
    make_rows(folder, {"none": 0.1, "dora": 0.5})
    run = tmp_path / "a_run"
    (run / "logs" / "from_step_0").mkdir(parents=True)
    (run / "run.json").write_text('{"config_hash": "c", "config": {"method": {"name": "dora"}}}')
    (run / "logs" / "from_step_0" / "metrics.csv").write_text("step,loss/cls,loss/patch\n0,3,1\n5,2,1\n10,1,1\n")
    assert loss_curves(tmp_path) == {"dora": [([0.0, 0.5, 1.0], [4.0, 3.0, 2.0])]}
    shown = said(folder)
    assert "methods and tasks" in shown
    assert "knn_mini" in shown
    assert "paper:table" not in shown  # the paper's numbers alone are on the page
    for name in ("leaderboard.md", "leaderboard.tex", "leaderboard.html", "bars.png", "heat_map.png", "losses.png"):
        assert (folder / name).stat().st_size > 100, name
    assert "paper:table5" in (folder / "leaderboard.html").read_text()
    assert "paper:table5" in said(folder, ["knn_imagenet1k"])


def test_without_rows_it_says_where_they_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "TRACKED", tmp_path / "none")
    with pytest.raises(ValueError, match=r"no leaderboards in .*; a run adds its rows there"):
        leaderboard(tmp_path, None)


def test_a_task_that_only_the_worst_have_is_left_out_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MOST_COMPARED", 2)
    make_rows(tmp_path, {"dino": 0.9, "ibot": 0.8, "dora": 0.1, "none": 0.1}, items=50)
    make_rows(tmp_path, {"dora": 0.1, "none": 0.1}, "linear_mini", items=50)
    columns, lines = compared(report.load([tmp_path], None))
    assert [column.evaluation for column in columns] == ["knn_mini"]
    assert len(lines) == 2


def test_an_edited_number_is_marked_and_stands_in_no_comparison(tmp_path: Path) -> None:
    dino, *_ = make_rows(tmp_path, {"none": 0.1, "dino": 0.5, "ibot": 0.4}, seeds=1)
    path, value = tmp_path / "knn_mini.csv", repr(dino.metrics["top1_k20"].value)
    path.write_text(path.read_text().replace(value, "93.0", 1))
    shown = said(tmp_path, ["knn_mini"])
    assert "dino (edited)" in shown
    assert "`run task=leaderboard verify=true` says which" in " ".join(shown.split())
    overview, board = (tmp_path / "leaderboard.md").read_text().split("**knn", 1)
    assert "dino" not in overview
    assert "| dino (edited) |" in board
    assert "**93.0**" not in board
    assert "dino" not in (tmp_path / "leaderboard.tex").read_text()


def test_a_stale_number_is_shown_as_such_and_ranked_with_nobody(tmp_path: Path) -> None:
    make_rows(tmp_path, {"none": 0.1, "dino": 0.5, "ibot": 0.4, "dora": 0.9})
    path = tmp_path / "knn_mini.csv"
    rows = read(path, metrics_of(path))
    old = [
        replace(row, provenance=row.provenance._replace(code_hash="0123456789ab-0123456789ab"))
        for row in rows
        if row.key.method == "dora"
    ]
    upsert(path, old, metrics_of(path))
    (board,) = report.load([tmp_path], None)
    scores = {entry.key.method: entry.scores["top1_k20"] for entry in board.entries}
    assert [entry.key.method for entry in board.entries if entry.stale] == ["dora"]
    assert scores["dora"].low is not None, "its interval is what it was"
    assert scores["dora"].letters == ""
    assert scores["dino"].place == Placing("a", (1, 1), 3)
    shown = said(tmp_path, ["knn_mini"])
    assert "90" in shown
    overview = (tmp_path / "leaderboard.md").read_text().split("**knn", 1)[0]
    assert "(stale)" in overview
    assert "**9" not in overview, "the best of what is fresh is bold"
    assert "| mean rank |  |  |  |  |" in overview, "nobody has a mean rank over a task with a stale number"
    assert "(stale)" in (tmp_path / "leaderboard.tex").read_text()
    assert '"stale":true' in (tmp_path / "leaderboard.html").read_text()

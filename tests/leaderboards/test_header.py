"""Files of other columns than today's: which are read, what their rows have, what their seals cover."""

import json
from pathlib import Path

import pytest
from edited_package import ROOT, run_edited

from longtake.leaderboards.header import metrics_in
from longtake.leaderboards.rows import board_files, metrics_of, read, upsert
from longtake.leaderboards.schema import INTEGERS, TEXTS, Key, Provenance, Row, columns
from longtake.leaderboards.statistics import Estimate

METRICS = ("top1_k20", "top1_k10")
PROOF = Provenance("c0", "c1", "c2", "2026-11-15", 4800, 0.05, 1.5, "cpu", "run", "x-y", "d0")
# The one line of a new column.
CARBON = {"schema.py": ('    note: str = ""  #', '    carbon_kg: float | None = None\n    note: str = ""  #')}


def make_row(method: str = "dino", value: float = 50.5) -> Row:
    key = Key(method, "", "mini", "vit_mini", 10, "mini.v1", 0, "run")
    return Row(key, {"top1_k20": Estimate(value, value - 1, value + 1), "top1_k10": Estimate(33.25)}, PROOF)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of today's columns, with two rows."""
    path = tmp_path / "boards" / "knn_mini.csv"
    upsert(path, [make_row("dino"), make_row("ibot", 60.5)], METRICS)
    return path


def reordered(path: Path, names: list[str]) -> None:
    """The file with its columns, cells and all, in another order or number."""
    lines = [line.split(",") for line in path.read_text().splitlines()]
    places = [lines[0].index(name) for name in names]
    path.write_text("".join(",".join(cells[i] for i in places) + "\n" for cells in lines))


def test_the_published_rows_are_sealed() -> None:
    """Their files were written with the columns of version 2, and are read as they are."""
    paths = board_files(ROOT / "leaderboards")
    rows = [row for path in paths for row in read(path, metrics_of(path))]
    assert len(rows) > 500
    assert not [row.key for row in rows if row.broken_seal]


def test_the_columns_say_what_their_cells_are() -> None:
    assert {"epochs", "seed", "frames_seen"} == INTEGERS
    assert {*Key._fields, *Provenance._fields} - TEXTS - INTEGERS == {"hours", "peak_memory_gb"}


def test_metrics_are_told_by_their_intervals() -> None:
    assert metrics_in(columns(METRICS)) == METRICS
    assert metrics_in(["b", "a", "a_low", "c", "c_low", "a_high", "c_high"]) == ("a", "c")


@pytest.mark.parametrize(
    ("old", "new", "flaw"),
    [
        (",note,", ",carbon_kg,remark,", "unknown: carbon_kg, remark"),
        (",note,", ',"remark\nof mine",', r"unknown: 'remark\\nof mine'"),
        (",epochs,", ",", "missing: epochs"),
        (",top1_k10_low,", ",", "missing: top1_k10_low"),
        (",seal", "", "missing: seal"),
        (",note,", ",hours,", "twice: hours"),
        ("top1_k20,top1_k20_low,top1_k20_high,top1_k10,", "top1_k10,top1_k20_low,top1_k20_high,top1_k20,", "in another order"),
        (",note,seal", ",seal,note", "in another order"),
        (",command,code_hash,data_hash,tested_on,note,seal", "", "cut short"),
    ],
)  # fmt: skip
def test_a_header_that_is_refused_says_why(path: Path, old: str, new: str, flaw: str) -> None:
    header, rest = path.read_text().split("\n", 1)
    assert header.count(old) == 1
    path.write_text(header.replace(old, new) + "\n" * (flaw != "cut short"))
    with pytest.raises(ValueError, match=rf"knn_mini.csv: line 1: got columns 'm.*', expected 'm.*' \({flaw}\); move"):
        read(path, METRICS)
    path.write_text(header.replace(old, new) + "\n" + rest)
    with pytest.raises(ValueError, match=r"knn_mini.csv: line [12]"):
        read(path, METRICS)


def test_every_torn_header_is_refused(path: Path) -> None:
    header = path.read_text().split("\n", 1)[0]
    for size in range(len(header) + 1):
        path.write_text(header[:size])
        with pytest.raises(
            ValueError, match=r"knn_mini.csv: line 1: got columns '.*cut short.*move the file away or restore it$"
        ):
            metrics_of(path)


def test_cells_are_found_by_the_names_of_their_columns(path: Path) -> None:
    """Whoever moves columns is noticed, as the seal of other columns than version 2's covers them; moved back, all is as it was."""
    rows = read(path, METRICS)
    order = columns(METRICS)
    order.insert(1, order.pop(order.index("hours")))
    reordered(path, order)
    moved = read(path, METRICS)
    assert [(row.key, row.metrics, row.provenance) for row in moved] == [(r.key, r.metrics, r.provenance) for r in rows]
    assert all(row.broken_seal for row in moved)
    upsert(path, [], METRICS)
    assert path.read_text().startswith(",".join(columns(METRICS)))
    assert read(path, METRICS) == rows


def test_names_that_change_places_in_a_header_are_noticed(path: Path) -> None:
    path.write_text(path.read_text().replace("config_hash,checkpoint_hash", "checkpoint_hash,config_hash"))
    for _ in range(2):
        rows = read(path, METRICS)
        assert {row.provenance.config_hash for row in rows} == {"c1"}
        assert all(row.broken_seal for row in rows)
        upsert(path, [], METRICS)  # mends nothing


def test_a_provenance_column_that_is_taken_away_is_empty_and_noticed(path: Path) -> None:
    reordered(path, [name for name in columns(METRICS) if name not in ("code_hash", "frames_seen", "note")])
    (first, second) = read(path, METRICS)
    assert first.provenance == PROOF._replace(code_hash="", frames_seen=None)
    assert first.broken_seal
    assert second.broken_seal


ADDED = """
import json, sys
from pathlib import Path
from longtake.leaderboards.rows import read, upsert
from longtake.leaderboards.schema import Key, Provenance, Row
from longtake.leaderboards.statistics import Estimate
path, metrics = Path(sys.argv[1]), ("top1_k20", "top1_k10")
def show():
    rows = read(path, metrics)
    print(json.dumps([[row.key.method, row.provenance.carbon_kg, row.provenance.note, row.broken_seal] for row in rows]))
show()
key = Key("simclr", "", "mini", "vit_mini", 10, "mini.v1", 0, "run")
upsert(path, [Row(key, {}, Provenance(carbon_kg=0.25, note="new"))], metrics)
show()
print(json.dumps(path.read_text().splitlines()[0]))
"""


def test_a_new_provenance_column_is_one_line(path: Path, tmp_path: Path) -> None:
    """Old files are read with their seals, the next upsert writes the new column, and edits are noticed before and after it."""
    old, intact = path.read_bytes(), [["dino", None, "", ""], ["ibot", None, "", ""]]
    new = [*intact, ["simclr", 0.25, "new", ""]]
    before, after, header = map(json.loads, run_edited(tmp_path, CARBON, ADDED, path).splitlines())
    assert (before, after) == (intact, new)
    assert header == ",".join(columns(METRICS)).replace(",note,", ",carbon_kg,note,")
    before, after, _ = map(json.loads, run_edited(tmp_path, CARBON, ADDED, path).splitlines())
    assert before == after == new
    # A name of the new header that is changed for another one: its seals cover it.
    written = path.read_text()
    path.write_text(written.replace("hours,peak_memory_gb", "peak_memory_gb,hours", 1))
    before, *_ = map(json.loads, run_edited(tmp_path, CARBON, ADDED, path).splitlines())
    assert all(seal for *_, seal in before)
    for content in (old.decode(), written):
        path.write_text(content.replace("60.5,59.5,61.5", "70.5,59.5,71.5"))
        assert path.read_text() != content
        before, after, _ = map(json.loads, run_edited(tmp_path, CARBON, ADDED, path).splitlines())
        assert [bool(seal) for *_, seal in before[:2]] == [False, True]
        assert [bool(seal) for *_, seal in after] == [False, True, False], "no upsert mends it"


def test_a_new_column_leaves_the_published_rows_intact(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from longtake.leaderboards.rows import board_files, metrics_of, read
boards = board_files(Path(sys.argv[1]))
rows = [row for path in boards for row in read(path, metrics_of(path))]
print(len(rows), sum(bool(row.broken_seal) for row in rows), {row.provenance.carbon_kg for row in rows})
"""
    count, broken, carbon = run_edited(tmp_path, CARBON, script, ROOT / "leaderboards").split()
    assert int(count) > 500
    assert (broken, carbon) == ("0", "{None}")

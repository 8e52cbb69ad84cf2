"""The CSV behind a leaderboard: what `upsert` keeps, what survives other writers and a kill, what `read` refuses."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from started import PATIENCE

from longtake.leaderboards.rows import Key, Provenance, Row, columns, metrics_of, read, upsert
from longtake.leaderboards.schema import OLD_KEY, OLD_PROVENANCE_2, score_columns, seal_of, sealed
from longtake.leaderboards.statistics import Estimate

METRICS = ("top1_k20", "top1_k10")  # in the order of the task, which is not the alphabet's

nasty = ["'", "'=1", "-1", "@a", "a,b", '"', "two\nlines", "\r", "\r\n", "=1+1", "<b>", "|", " x ", "<<<<<<<", "\0"]
texts = st.text(max_size=8) | st.sampled_from(nasty)
names = texts.filter(bool)
whole = st.none() | st.integers(0, 2000)
numbers = st.floats(-100, 100)
estimates = st.tuples(numbers, st.none() | st.tuples(numbers, numbers)).map(
    lambda found: Estimate(found[0], *(sorted(found[1]) if found[1] else (None, None)))
)
keys = st.builds(Key, names, texts, texts, texts, whole, texts, whole, names)
provenances = st.builds(
    Provenance, texts, texts, texts, texts, whole, st.none() | numbers, st.none() | numbers,
    texts, texts, texts, texts, texts,
)  # fmt: skip
metrics = st.dictionaries(st.sampled_from(METRICS), estimates)


@st.composite
def batches_of_rows(draw: st.DrawFn) -> list[list[Row]]:
    """Rows of a few keys, so that keys come again."""
    few = st.sampled_from(draw(st.lists(keys, min_size=1, max_size=4)))
    return draw(st.lists(st.lists(st.builds(Row, few, metrics, provenances), max_size=4), min_size=1, max_size=3))


def make_row(method: str = "dora", epochs: int | None = 100, seed: int | None = 0, value: float = 1 / 3) -> Row:
    key = Key(method, "", "mini", "vit_mini", epochs, "mini.v1", seed, "run")
    scores = {"top1_k20": Estimate(value, value - 1, value + 1), "top1_k10": Estimate(value + 2)}
    return Row(key, scores, Provenance("c0", "c1", "c2", "2026-11-15", 4800, 0.05, 1.5, "cpu"))


@settings(max_examples=60, deadline=None)
@given(batches=batches_of_rows())
def test_the_file_holds_the_last_row_of_every_key(batches: list[list[Row]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "knn_mini.csv"
        expected: dict[Key, Row] = {}
        for batch in batches:
            upsert(path, batch, METRICS)
            expected |= {row.key: row for row in batch}
            found = read(path, METRICS)
            assert {row.key: row for row in found} == expected
            assert len(found) == len(expected)
        content = path.read_bytes()
        upsert(path, batches[-1], METRICS)
        assert path.read_bytes() == content
        backwards = Path(folder) / "backwards.csv"
        for row in reversed(expected.values()):
            upsert(backwards, [row], METRICS)
        assert not expected or backwards.read_bytes() == content


@given(cells=st.lists(texts))
def test_the_seal_is_the_hash_of_json_arrays(cells: list[str]) -> None:
    names = (*OLD_KEY, *score_columns(METRICS), *OLD_PROVENANCE_2, "seal")  # of version 2, whose seals cover no header
    assert seal_of(cells, sealed(names)) == hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:12]
    others = (*names[:-1], "carbon_kg", "seal")
    both = json.dumps(others) + json.dumps(cells)
    assert seal_of(cells, sealed(others)) == hashlib.sha256(both.encode()).hexdigest()[:12]


def test_the_file_is_plain_csv_with_all_digits(tmp_path: Path) -> None:
    path = tmp_path / "knn_mini.csv"
    row = make_row()
    scores = {**row.metrics, "top1_k10": Estimate(np.float64(41.25), 40, 42)}
    upsert(path, [Row(row.key, scores, row.provenance)], METRICS)
    header, line = path.read_text().splitlines(keepends=True)
    both = json.dumps(header.strip().split(",")) + json.dumps(line.split(",")[:-1])
    seal = hashlib.sha256(both.encode()).hexdigest()[:12]
    assert header + line == (
        "method,variant,pretrain,backbone,epochs,protocol,seed,source,"
        "top1_k20,top1_k20_low,top1_k20_high,top1_k10,top1_k10_low,top1_k10_high,"
        "config_hash,checkpoint_hash,code_commit,date,frames_seen,hours,peak_memory_gb,device,"
        "command,code_hash,data_hash,tested_on,note,seal\n"
        "dora,,mini,vit_mini,100,mini.v1,0,run,"
        "0.3333333333333333,-0.6666666666666667,1.3333333333333333,41.25,40.0,42.0,"
        "c0,c1,c2,2026-11-15,4800,0.05,1.5,cpu,,,,,,"
        f"{seal}\n"
    )


def test_epochs_and_seeds_are_sorted_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "knn_mini.csv"
    order = [("dino", 9, 2), ("dino", 9, 10), ("dino", 100, 0), ("none", None, None), ("none", 0, 0)]
    upsert(path, [make_row(*fields) for fields in reversed(order)], METRICS)
    assert [(row.key.method, row.key.epochs, row.key.seed) for row in read(path, METRICS)] == order


def test_a_file_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "knn_mini.csv", METRICS) == []


def test_the_header_names_the_metrics(tmp_path: Path) -> None:
    path = tmp_path / "knn_mini.csv"
    upsert(path, [], METRICS)
    assert metrics_of(path) == METRICS
    path.write_text("a,b\n")
    with pytest.raises(ValueError, match=r"knn_mini.csv: line 1: got columns 'a,b', expected 'method,variant"):
        metrics_of(path)


def test_another_header_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "knn_mini.csv"
    upsert(path, [make_row()], METRICS)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=r"knn_mini.csv: line 1: got columns '.*top1_k20.*', expected '.*source,top5,"):
        upsert(path, [], ("top5",))
    assert path.read_bytes() == content
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"line 1: got columns '', expected 'method"):
        read(path, METRICS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ibot,,mini,vit_mini,100", "ibot,,mini,vit_mini,1e2", "line 3, column 'epochs': got '1e2', expected an int"),
        ("ibot,,mini,vit_mini,100", "ibot,,mini,vit_mini,\uff11", "line 3, column 'epochs': got '\uff11'"),
        ("ibot,,mini", ",,mini", r"line 3, column 'method': got '', expected a name"),
        ("50.5,49.5,51.5", "50.5 %,49.5,51.5", r"line 3, column 'top1_k20': got '50.5 %', expected a finite"),
        ("50.5,49.5,51.5", "nan,49.5,51.5", r"line 3, column 'top1_k20': got 'nan', expected a finite number"),
        ("50.5,49.5,51.5", "1e999,49.5,51.5", r"line 3, column 'top1_k20': got '1e999', expected a finite number"),
        ("50.5,49.5,51.5", "50.5,51.5,49.5", r"line 3, column 'top1_k20': got 50.5 \[51.5, 49.5\], .* low <= high"),
        ("50.5,49.5,51.5", "50.5,49.5,", r"line 3, column 'top1_k20': got 50.5 \[49.5, None\]"),
        ("50.5,49.5,51.5", ",49.5,51.5", r"line 3, column 'top1_k20': got None \[49.5, 51.5\]"),
        ("ibot,,mini,vit_mini", "ibot,,mini,,vit_mini", r"line 3, column 'seal': got 29 cells .* expected 28"),
        ("ibot,,mini", '"ibot",,mini', r"line 3, column 'method': .* edited by hand"),
        ("ibot,,mini", 'ibot,,"mini', r"line 3, column 'pretrain': .* edited by hand"),
        ("ibot,", "dino,", r"line 3: got the key of line 2 again \(dino pretrain=mini .*seed=0"),
        ("ibot,", "<<<<<<< HEAD\nibot,", r"line 3, column 'method': got merge conflict '<<<<<<< HEAD'"),
        ("ibot,", "=======\nibot,", r"line 3, column 'method': got merge conflict '======='"),
        ("method,", "<<<<<<< HEAD\nmethod,", r"line 1, column 'method': got merge conflict '<<<<<<< HEAD'"),
        ("ibot,", "\nibot,", r"line 3, column 'method': got 0 cells"),
        ("ibot", "ib\udcffot", r"line 3, column 'method': got 'ib\\udcffot', expected a name in UTF-8"),
    ],
)
def test_a_file_edited_by_hand_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "knn_mini.csv"
    upsert(path, [make_row("dino"), make_row("ibot", value=50.5)], METRICS)
    text = path.read_text()
    assert text.count(old) == 1
    edited = text.replace(old, new).encode("utf-8", "surrogateescape")
    path.write_bytes(edited)
    with pytest.raises(ValueError, match=f"knn_mini.csv: {message}"):
        read(path, METRICS)
    with pytest.raises(ValueError, match=f"knn_mini.csv: {message}"):
        upsert(path, [make_row("simclr")], METRICS)
    assert path.read_bytes() == edited


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("\nibot,", '\n"ibot,', "line 3, column 'method'"),
        ("\nibot,,mini,", '\nibot,,"mini,', "line 3, column 'pretrain'"),
        ("\nibot,,mini,", f"\nibot,{'x' * 200_000},mini,", "line 3, column 'variant'"),
        ("method,", '"method,', "line 1, column 'method'"),
    ],
)
def test_a_quote_that_opens_a_long_rest_of_the_file_is_named(tmp_path: Path, old: str, new: str, place: str) -> None:
    path = tmp_path / "knn_mini.csv"
    upsert(path, [make_row("dino"), make_row("ibot"), *(make_row("simclr", seed=i) for i in range(1000))], METRICS)
    text = path.read_text()
    assert len(text) > csv.field_size_limit()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(
        ValueError, match=f"knn_mini.csv: {place}: got a cell of more than 131072 char.*restore the file"
    ):
        read(path, METRICS)


def test_a_flipped_digit_breaks_the_seal_and_no_upsert_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "knn_mini.csv"
    upsert(path, [make_row("dino"), make_row("ibot", value=50.5)], METRICS)
    assert [row.broken_seal for row in read(path, METRICS)] == ["", ""]
    path.write_text(path.read_text().replace("50.5,49.5,51.5", "60.5,49.5,61.5"))
    seals = [row.broken_seal for row in read(path, METRICS)]
    assert seals[0] == ""
    assert len(seals[1]) == 12
    upsert(path, [make_row("simclr")], METRICS)
    assert [bool(row.broken_seal) for row in read(path, METRICS)] == [False, True, False]
    upsert(path, [make_row("ibot", value=60.5)], METRICS)  # measured again
    assert not any(row.broken_seal for row in read(path, METRICS))


def test_a_seal_that_was_removed_stays_away(tmp_path: Path) -> None:
    path = tmp_path / "knn_mini.csv"
    upsert(path, [make_row("dino")], METRICS)
    lines = path.read_text().splitlines()
    path.write_text(f"{lines[0]}\n{lines[1].rpartition(',')[0]},\n")
    assert read(path, METRICS)[0].broken_seal == "none"
    upsert(path, [], METRICS)
    assert path.read_text().endswith(",none\n")


def test_files_of_version_1_are_migrated(tmp_path: Path) -> None:
    path = tmp_path / "knn_mini.csv"
    path.write_text(
        "method,variant,pretrain,backbone,epochs,protocol,seed,source,top1,top1_low,top1_high,"
        "config_hash,checkpoint_hash,code_commit,date,frames_seen,hours,peak_memory_gb,device\n"
        "=dino,,mini,vit_mini,100,mini.v1,0,run,41.25,40.0,42.0,c0,c1,c2,2026-11-15,4800,0.05,1.5,cpu\n"
    )
    assert metrics_of(path) == ("top1",)
    provenance = Provenance("c0", "c1", "c2", "2026-11-15", 4800, 0.05, 1.5, "cpu")
    key = Key("=dino", "", "mini", "vit_mini", 100, "mini.v1", 0, "run")
    expected = [Row(key, {"top1": Estimate(41.25, 40.0, 42.0)}, provenance)]
    assert read(path, ["top1"]) == expected
    upsert(path, [], ["top1"])
    assert path.read_text().splitlines()[0].endswith(",note,seal")
    assert read(path, ["top1"]) == expected


def test_names_that_spreadsheets_would_execute_are_marked(tmp_path: Path) -> None:
    path = tmp_path / "knn_mini.csv"
    upsert(path, [make_row(name) for name in ("=1+1", "'a", "@x", "-1", "+1")], METRICS)
    assert {line.split(",")[0] for line in path.read_text().splitlines()[1:]} == {"'=1+1", "''a", "'@x", "'-1", "'+1"}
    assert {row.key.method for row in read(path, METRICS)} == {"=1+1", "'a", "@x", "-1", "+1"}
    path.write_text(path.read_text().replace("'=1+1", "=1+1"))
    with pytest.raises(ValueError, match=r"line \d, column 'method': got '=1\+1', expected a name that begins with"):
        read(path, METRICS)


def test_lines_are_counted_through_cells_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "knn_mini.csv"
    first = make_row("dino")
    first = Row(first.key._replace(variant="two\nlines"), first.metrics, first.provenance)
    upsert(path, [first, make_row("ibot", 7)], METRICS)
    path.write_text(path.read_text().replace(",7,", ",seven,"))
    with pytest.raises(ValueError, match="line 4, column 'epochs': got 'seven'"):
        read(path, METRICS)


def test_every_truncation_within_a_row_is_found(tmp_path: Path) -> None:
    path = tmp_path / "knn_mini.csv"
    row = make_row()
    upsert(path, [Row(row.key._replace(variant="a,b"), row.metrics, row.provenance)], METRICS)
    content = path.read_bytes()
    header = content.index(b"\n") + 1
    for size in range(header + 1, len(content)):
        path.write_bytes(content[:size])
        line = content[header:size].replace(b'"a,', b'"a;')  # one comma a cell
        column = columns(METRICS)[line.count(b",")]
        with pytest.raises(ValueError, match=f"line 2, column '{column}': .* cut short"):
            read(path, METRICS)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"top5": Estimate(1.0)}, r"got metrics \['top5'\], expected some of \['top1_k20', 'top1_k10'\]"),
        ({"top1_k20": Estimate(float("nan"))}, "column 'top1_k20': got 'nan', expected a finite number"),
        ({"top1_k20": Estimate(1.0, 0.5)}, r"column 'top1_k20': got 1.0 \[0.5, None\]"),
    ],
)
def test_a_row_that_could_not_be_read_is_not_written(tmp_path: Path, scores: dict[str, Estimate], message: str) -> None:
    path = tmp_path / "knn_mini.csv"
    with pytest.raises(ValueError, match=f"row 'dora pretrain=mini .*{message}"):
        upsert(path, [Row(make_row().key, scores, Provenance())], METRICS)
    assert not path.exists()


WRITER = """
import sys
from pathlib import Path
from longtake.leaderboards.rows import Key, Provenance, Row, upsert
from longtake.leaderboards.statistics import Estimate
for seed in range(5):
    key = Key("dora", "", "mini", sys.argv[2], 1, "mini.v1", seed, "run")
    upsert(Path(sys.argv[1]), [Row(key, {"top1": Estimate(1.0)}, Provenance())], ["top1"])
"""


def test_writers_at_once_lose_no_row(tmp_path: Path) -> None:
    path = tmp_path / "knn_mini.csv"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, f"vit{n}"]) for n in range(16)]
    assert [writer.wait(PATIENCE) for writer in writers] == [0] * 16
    found = {(row.key.backbone, row.key.seed) for row in read(path, ["top1"])}
    assert found == {(f"vit{n}", seed) for n in range(16) for seed in range(5)}


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "knn_mini.csv"
    upsert(path, [make_row("dino")], METRICS)
    content = path.read_bytes()

    def no_space(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", no_space)
        with pytest.raises(OSError, match="no space"):
            upsert(path, [make_row("ibot")], METRICS)
    assert path.read_bytes() == content
    upsert(path, [make_row("ibot")], METRICS)
    assert [row.key.method for row in read(path, METRICS)] == ["dino", "ibot"]
    assert [entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".")] == ["knn_mini.csv"]


def test_a_kill_before_the_last_step_leaves_the_old_file_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "knn_mini.csv"
    upsert(path, [], ["top1"])
    content = path.read_bytes()
    killed = "import os\nos.replace = lambda *_: os.kill(os.getpid(), 9)\n" + WRITER
    assert subprocess.run([sys.executable, "-c", killed, path, "vit"]).returncode == -signal.SIGKILL
    assert path.read_bytes() == content
    subprocess.run([sys.executable, "-c", WRITER, path, "vit"], check=True, timeout=PATIENCE)
    assert len(read(path, ["top1"])) == 5


def test_a_key_reads_as_words() -> None:
    expected = "dino pretrain=mini backbone=vit_mini epochs=10 protocol=mini.v1 seed=0 source=run"
    assert str(make_row("dino", 10).key) == expected

"""Columns that join the key: three steps (leaderboards/migrations.py), done here with `data`, `frames` and `init`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from edited_package import ROOT, run_edited
from made_rows import make_rows

from longtake.leaderboards.migrate import migrate
from longtake.leaderboards.migrations import MIGRATIONS, added
from longtake.leaderboards.rows import board_files, metrics_of, read
from longtake.leaderboards.schema import OLD_KEY, Key, Provenance

# Step 1, the fields; step 2, the entry.
FIELDS = ("    @property\n    def identity", "    {}\n\n    @property\n    def identity")
THREE = 'data: str = "unknown"\n    frames: int | None = None\n    init: str = "random"'
LIST = "MIGRATIONS: tuple[Migration, ...] = ()"
ENTRIES = """MIGRATIONS: tuple[Migration, ...] = (
    Migration("data and budget", "2026-12-24", {"data": "unknown", "frames": lambda row: row["frames_seen"]}),
    Migration("how weights begin", "2027-01-06", {"init": lambda row: f"random of seed {row['seed']}, {row['data']}"}),
)"""
ONE_ENTRY = "\n".join(line for line in ENTRIES.splitlines() if "how weights" not in line)
EDITS = {"schema.py": (FIELDS[0], FIELDS[1].format(THREE)), "migrations.py": (LIST, ENTRIES)}
FIRST_ONLY = {
    "schema.py": (FIELDS[0], FIELDS[1].format(THREE.rpartition("\n")[0])),
    "migrations.py": (LIST, ONE_ENTRY),
}
MIGRATE = """
import sys
from pathlib import Path
from longtake.leaderboards.migrate import migrate
print(*migrate(Path(sys.argv[1])))
"""
# What a folder of leaderboards has: of each row the key, whether it is edited, whether it has outcomes and of which items.
SHOW = """
import json, sys
from pathlib import Path
from longtake.leaderboards.outcomes import has_outcomes, items_hash, load_outcomes
from longtake.leaderboards.rows import board_files, metrics_of, read
folder, shown = Path(sys.argv[1]), []
for path in board_files(folder):
    for row in read(path, metrics_of(path)):
        there = has_outcomes(folder, path.stem, row.key)
        items = items_hash(load_outcomes(folder, path.stem, row.key)) if there else ""
        shown.append([path.stem, row.key._asdict(), row.provenance._asdict(), bool(row.broken_seal), items])
print(json.dumps(shown))
"""


def test_every_column_of_the_key_is_old_or_has_a_migration() -> None:
    """A field that was added to `Key` alone would leave all files unread."""
    assert set(Key._fields) == {*OLD_KEY, *(added() & set(Key._fields))}
    assert [name for name in Key._fields if name in OLD_KEY] == list(OLD_KEY), (
        "outcomes are found by the order of fields"
    )
    columns = [column for migration in MIGRATIONS for column in migration.values]
    assert set(columns) <= {*Key._fields, *Provenance._fields}
    assert len(set(columns)) == len(columns)


def outcomes_in(folder: Path) -> dict[Path, dict[str, list]]:
    """By file, its arrays but for the key."""
    found = {}
    for path in sorted((folder / "outcomes").glob("*/*.npz")):
        with np.load(path) as arrays:
            found[path] = {name: arrays[name].tolist() for name in arrays.files if name != "key"}
    return found


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*.*") if path.suffix in (".csv", ".npz"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def by_evaluation(outcomes: dict[Path, dict[str, list]]) -> list[str]:
    """Whatever the files are called."""
    return sorted(json.dumps([path.parent.name, arrays]) for path, arrays in outcomes.items())


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A copy of the repository's leaderboards."""
    folder = tmp_path / "published"
    folder.mkdir()
    for path in (ROOT / "leaderboards").glob("*.csv"):
        shutil.copy(path, folder)
    shutil.copytree(ROOT / "leaderboards" / "outcomes", folder / "outcomes", ignore=shutil.ignore_patterns(".*"))
    return folder


def test_the_published_rows_move_to_a_key_of_three_more_columns(published: Path, tmp_path: Path) -> None:
    rows = [(path.stem, row) for path in board_files(published) for row in read(path, metrics_of(path))]
    before, boards = outcomes_in(published), len(board_files(published))
    old_keys = {(evaluation, row.key) for evaluation, row in rows}
    assert len(rows) > 500
    assert len(before) > 250
    assert run_edited(tmp_path, EDITS, MIGRATE, published).split() == [str(boards), str(len(before))]
    after = outcomes_in(published)
    assert not set(after) & set(before), "the name of a file is a hash of the key"
    assert by_evaluation(after) == by_evaluation(before)
    shown = json.loads(run_edited(tmp_path, EDITS, SHOW, published))
    assert len(shown) == len(rows)
    assert sum(bool(items) for *_, items in shown) == len(before), "every file of outcomes is found"
    for evaluation, key, provenance, edited, items in shown:
        assert not edited
        assert (key["data"], key["frames"]) == ("unknown", provenance["frames_seen"])
        assert key["init"] == f"random of seed {key['seed']}, unknown"
        assert items in ("", provenance["data_hash"])
        assert (evaluation, Key(**{name: key[name] for name in OLD_KEY})) in old_keys


def test_a_second_migration_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "boards"
    make_rows(folder, {"dino": 0.5, "none": 0.2}, seeds=2, items=30)
    assert run_edited(tmp_path, EDITS, MIGRATE, folder).split() == ["1", "4"]
    migrated = contents(folder)
    assert run_edited(tmp_path, EDITS, MIGRATE, folder).split() == ["0", "0"]
    assert contents(folder) == migrated


def test_with_no_new_columns_nothing_changes(tmp_path: Path) -> None:
    make_rows(tmp_path, {"dino": 0.5}, seeds=2, items=30)
    before = contents(tmp_path)
    assert migrate(tmp_path) == (0, 0)
    assert contents(tmp_path) == before
    with pytest.raises(ValueError, match=r"no leaderboards in .*outcomes, expected a folder with CSVs"):
        migrate(tmp_path / "outcomes")


def test_an_edited_row_stays_edited_and_keeps_its_outcomes(tmp_path: Path) -> None:
    folder = tmp_path / "boards"
    rows = make_rows(folder, {"dino": 0.5, "dora": 0.6}, seeds=1, items=30)
    path = folder / "knn_mini.csv"
    digits = repr(rows[1].metrics["top1_k20"].value)
    assert path.read_text().count(f",{digits},") == 1
    path.write_text(path.read_text().replace(f",{digits},", ",99.5,"))
    for _ in range(2):
        run_edited(tmp_path, EDITS, MIGRATE, folder)
        shown = json.loads(run_edited(tmp_path, EDITS, SHOW, folder))
        assert [(key["method"], edited) for _, key, _, edited, _ in shown] == [("dino", False), ("dora", True)]
        assert all(items for *_, items in shown)


def test_files_of_every_age_are_migrated(tmp_path: Path) -> None:
    """Those that one migration has seen and those that none has; the values are the same."""
    early, late = tmp_path / "early", tmp_path / "late"
    for folder in (early, late):
        make_rows(folder, {"dino": 0.5, "none": 0.2}, seeds=2, items=30)
    assert run_edited(tmp_path / "first", FIRST_ONLY, MIGRATE, early).split() == ["1", "4"]
    assert "source,data,frames,top1_k20" in (early / "knn_mini.csv").read_text()
    for folder in (early, late):
        assert run_edited(tmp_path / "both", EDITS, MIGRATE, folder).split() == ["1", "4"]
    assert contents(early) == contents(late)


def test_files_of_version_1_are_migrated(tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "knn_mini.csv").write_text(
        "method,variant,pretrain,backbone,epochs,protocol,seed,source,top1,top1_low,top1_high,"
        "config_hash,checkpoint_hash,code_commit,date,frames_seen,hours,peak_memory_gb,device\n"
        "=dino,,mini,vit_mini,100,mini.v1,0,run,41.25,40.0,42.0,c0,c1,c2,2026-11-15,4800,0.05,1.5,cpu\n"
    )
    for _ in range(2):
        ((_, key, _, edited, _),) = json.loads(run_edited(tmp_path, EDITS, SHOW, tmp_path / "boards"))
        assert (key["method"], key["data"], key["frames"], edited) == ("=dino", "unknown", 4800, False)
        run_edited(tmp_path, EDITS, MIGRATE, tmp_path / "boards")


def test_a_kill_loses_nothing_and_another_run_finishes(tmp_path: Path) -> None:
    folder = tmp_path / "boards"
    for evaluation in ("knn_mini", "linear_mini"):
        make_rows(folder, {"dino": 0.5}, evaluation, seeds=2, items=30)
    expected = tmp_path / "expected"
    shutil.copytree(folder, expected)
    run_edited(tmp_path, EDITS, MIGRATE, expected)
    before = by_evaluation(outcomes_in(folder))
    killed = """
import os, sys
from pathlib import Path
from longtake.leaderboards import migrate
calls = {}
def limited(name, most):
    whole = vars(migrate)[name]
    def call(*arguments):
        calls[name] = calls.get(name, 0) + 1
        if calls[name] > most:
            os._exit(0)
        return whole(*arguments)
    setattr(migrate, name, call)
limited(sys.argv[2], int(sys.argv[3]))
migrate.migrate(Path(sys.argv[1]))
print("not killed")
"""
    for name, most in (("keep_outcomes", 1), ("upsert", 1), ("outcomes_path", 1)):
        assert run_edited(tmp_path, EDITS, killed, folder, name, most) == ""
        assert set(before) <= set(by_evaluation(outcomes_in(folder)))
    run_edited(tmp_path, EDITS, MIGRATE, folder)
    assert contents(folder) == contents(expected)


def test_rows_of_the_new_key_are_no_heirs_of_the_old(tmp_path: Path) -> None:
    """A row that differs from an old one in the new columns alone is added before the folder is migrated."""
    folder = tmp_path / "boards"
    make_rows(folder, {"dino": 0.5}, seeds=1, items=30)
    add = """
import sys
from pathlib import Path
from longtake.leaderboards.rows import metrics_of, read, upsert
from longtake.leaderboards.schema import Row
path = Path(sys.argv[1]) / "knn_mini.csv"
(row,) = read(path, metrics_of(path))
upsert(path, [Row(row.key._replace(data="younger"), row.metrics, row.provenance)], metrics_of(path))
"""
    run_edited(tmp_path, EDITS, add, folder)
    assert run_edited(tmp_path, EDITS, MIGRATE, folder).split() == ["0", "1"]
    shown = json.loads(run_edited(tmp_path, EDITS, SHOW, folder))
    assert [(key["data"], bool(items)) for _, key, _, _, items in shown] == [("unknown", True), ("younger", False)]


def test_a_cell_that_a_migration_needs_is_named_where_it_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "boards"
    make_rows(folder, {"dino": 0.5}, seeds=1, items=30)
    path = folder / "knn_mini.csv"
    path.write_text(path.read_text().replace(",12672,", ",many,"))
    script = """
import sys
from pathlib import Path
from longtake.leaderboards.rows import metrics_of, read
try:
    read(Path(sys.argv[1]), metrics_of(Path(sys.argv[1])))
except ValueError as error:
    print(error)
"""
    message = f"{path}: line 2, column 'frames_seen': got 'many', expected an integer or nothing\n"
    assert run_edited(tmp_path, EDITS, script, path) == message


def test_a_key_column_without_a_migration_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "boards"
    make_rows(folder, {"dino": 0.5}, seeds=1, items=30)
    script = """
import sys
from pathlib import Path
from longtake.leaderboards.rows import metrics_of
try:
    metrics_of(Path(sys.argv[1]))
except ValueError as error:
    print(error)
"""
    said = run_edited(tmp_path, {"schema.py": EDITS["schema.py"]}, script, folder / "knn_mini.csv")
    assert "(missing: data, frames, init); move the file away or restore it\n" in said
    assert said.count("\n") == 1

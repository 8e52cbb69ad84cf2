"""What reaches the tracked leaderboards, in a git repository made for the test."""

import json
import re
import shlex
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chaos import calls_of, killed_at
from edited_package import run_edited

from longtake.engine.boards import metrics_for
from longtake.engine.git import code_commit
from longtake.leaderboards.commands import for_everybody
from longtake.leaderboards.outcomes import keep_outcomes, load_outcomes, outcomes_path
from longtake.leaderboards.rows import Key, Provenance, Row, read, upsert
from longtake.leaderboards.statistics import Estimate
from longtake.leaderboards.together import finish
from longtake.tasks.publish import publish, publish_rows

METRICS = metrics_for("knn_mini")
COMPLETE = Provenance(
    "c0ffee", "beef", "0123456789", "2026-11-15", 4800, 0.05, 1.5, "cpu", "run method=dino", "c0de", "da7a"
)  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_row(method: str = "dino", provenance: Provenance = COMPLETE) -> Row:
    key = Key(method, "", "mini", "vit_mini", 10, "mini.v1", 0, "run")
    return Row(key, {"top1": Estimate(41.0, 38.0, 44.0)}, provenance)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    (folder / "leaderboards").mkdir(parents=True)
    (folder / "run.py").write_text("pass\n")
    (folder / ".gitignore").write_text("outputs/\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def test_complete_rows_are_published_and_named(clone: Path) -> None:
    source, target = clone / "outputs" / "leaderboards", clone / "leaderboards"
    random_init = make_row("none", COMPLETE._replace(checkpoint_hash=""))
    upsert(source / "knn_mini.csv", [make_row("dino"), random_init], ["top1"])
    upsert(source / "linear_mini.csv", [make_row("dino")], ["top1"])
    publication = publish(source, target)
    assert str(publication).splitlines() == [
        "published knn_mini: dino pretrain=mini backbone=vit_mini epochs=10 protocol=mini.v1 seed=0 source=run",
        "published knn_mini: none pretrain=mini backbone=vit_mini epochs=10 protocol=mini.v1 seed=0 source=run",
        "published linear_mini: dino pretrain=mini backbone=vit_mini epochs=10 protocol=mini.v1 seed=0 source=run",
        "3 published, 0 refused",
    ]
    for name in ("knn_mini", "linear_mini"):
        assert (target / f"{name}.csv").read_bytes() == (source / f"{name}.csv").read_bytes()
    # Nothing but the leaderboards themselves: no lock, no temporary file.
    assert git(clone, "status", "--porcelain", "--untracked-files=all").split() == [
        "??",
        "leaderboards/knn_mini.csv",
        "??",
        "leaderboards/linear_mini.csv",
    ]


def test_the_outcomes_of_a_row_go_with_it(clone: Path) -> None:
    source, target = clone / "outputs" / "leaderboards", clone / "leaderboards"
    upsert(source / "knn_mini.csv", [make_row("dino"), make_row("ibot", Provenance())], ["top1"])
    for method in ("dino", "ibot"):
        outcomes = {"items": np.array(["a", "b"]), "top1": np.array([1.0, 0.0])}
        keep_outcomes(source, "knn_mini", make_row(method).key, outcomes)
    publish(source, target)
    assert load_outcomes(target, "knn_mini", make_row("dino").key)["top1"].tolist() == [1.0, 0.0]
    assert not outcomes_path(target, "knn_mini", make_row("ibot").key).exists(), "refused with its row"
    assert not code_commit(clone).endswith("+dirty"), "rows and outcomes are no code"


def test_published_rows_stay_beside_new_ones(clone: Path) -> None:
    source, target = clone / "outputs" / "leaderboards", clone / "leaderboards"
    older = make_row("dino", COMPLETE._replace(config_hash="old"))
    upsert(target / "knn_mini.csv", [make_row("simclr"), older], ["top1"])
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "rows")
    upsert(source / "knn_mini.csv", [make_row("dino")], ["top1"])
    publish(source, target)
    assert read(target / "knn_mini.csv", ["top1"]) == [make_row("dino"), make_row("simclr")]


@pytest.mark.parametrize(
    ("provenance", "reason"),
    [
        (COMPLETE._replace(code_commit="0123456789+dirty"), r"its code had uncommitted changes \(0123456789\+dirty\)"),
        (COMPLETE._replace(code_commit="unknown"), "its code is not known"),
        (COMPLETE._replace(checkpoint_hash="", hours=None), "no checkpoint_hash, hours"),
        (
            Provenance(),
            "no config_hash, checkpoint_hash, code_commit, date, frames_seen, hours, peak_memory_gb, device, command, "
            "code_hash, data_hash",
        ),
    ],
)
def test_a_row_without_proof_is_refused_by_name(clone: Path, provenance: Provenance, reason: str) -> None:
    source, target = clone / "outputs" / "leaderboards", clone / "leaderboards"
    upsert(source / "knn_mini.csv", [make_row("dino", provenance), make_row("ibot")], ["top1"])
    lines = str(publish(source, target)).splitlines()
    assert lines[0].startswith("published knn_mini: ibot ")
    assert re.fullmatch(f"refused knn_mini: dino pretrain=mini .* source=run: {reason}", lines[1])
    assert lines[2] == "1 published, 1 refused"
    assert read(target / "knn_mini.csv", ["top1"]) == [make_row("ibot")]


@pytest.mark.parametrize(
    ("command", "published"),
    [
        ("run method=dino output=/data/alice/out resume=true seed=1", "run method=dino seed=1"),
        ("run checkpoint=/data/alice/dino.pth", "run checkpoint=dino.pth"),
        ("run 'checkpoint=/data/my runs/dino.pth'", "run checkpoint=dino.pth"),
        ("run 'pretrain.path=[/data/a.mp4, ~/b.mp4,walks/c.mp4]'", "run 'pretrain.path=[a.mp4, b.mp4,walks/c.mp4]'"),
        ("run eval.knn_imagenet1k.root=/data/imagenet/", "run eval.knn_imagenet1k.root=imagenet"),
        ("run 'eval=[knn_mini,lost_mini]' optimizer.lr=1/2", "run 'eval=[knn_mini,lost_mini]' optimizer.lr=1/2"),
        ("run output=relative pretrain.output=/x", "run pretrain.output=x"),
        ("run 'method=dino", "run 'method=dino"),
        (
            "run 'p=$LONGTAKE_DATA/x.mp4' e=~old.mp4",
            "run 'p=$LONGTAKE_DATA/x.mp4' 'e=~old.mp4'",
        ),
        (
            "run checkpoint=https://example.org/x/y.pth share=100%25",
            "run checkpoint=https://example.org/x/y.pth share=100%25",
        ),
        ("run '++output=/home/me/out' 'views=[{size:8,scale:[0.1,0.4]}]'", "run 'views=[{size:8,scale:[0.1,0.4]}]'"),
    ],
)
def test_a_published_command_says_nothing_of_the_machine(clone: Path, command: str, published: str) -> None:
    source, target = clone / "outputs" / "leaderboards", clone / "leaderboards"
    upsert(source / "knn_mini.csv", [make_row("dino", COMPLETE._replace(command=command))], ["top1"])
    publish(source, target)
    (row,) = read(target / "knn_mini.csv", ["top1"])
    assert row.provenance.command == published
    assert not row.broken_seal
    assert read(source / "knn_mini.csv", ["top1"])[0].provenance.command == command, "ours stays as it was given"


# A path of somebody's home in many spellings; of each the file's name stays.
SPELLINGS = [
    "/home/me/x.mp4", "/HOME/me/x.mp4", "/Users/me/x.mp4", "/" + "root/x.mp4", "~/x.mp4", "~me/x.mp4", "$HOME/x.mp4",
    "${HOME}/x.mp4", "${oc.env:HOME}/x.mp4", "${oc.env:HOME,/home/me}/x.mp4", "${HOME:-/home/me}/x.mp4", "file:///home/me/x.mp4",
    "file://localhost/home/me/x.mp4", "FILE:/home/me/x.mp4", "'/home/me/x.mp4'", '"~/x.mp4"', r"\/home\/me\/x.mp4",
    "%2Fhome%2Fme%2Fx.mp4", "%252Fhome%252Fme%252Fx.mp4", "/ho%6De/me/x.mp4", "%7E/x.mp4", "[/home/me/x.mp4,~/x.mp4]",
    "{a:/home/me/x.mp4,b:[$HOME/x.mp4]}", "{path: /home/me/x.mp4}", "../../home/me/x.mp4", "home/me/x.mp4", "//home//me//x.mp4",
    "/home/./me/../me/x.mp4", r"C:\Users\me\x.mp4", "c:/users/me/x.mp4", "%USERPROFILE%/x.mp4", "see /home/me/x.mp4",
    "/home/me/my videos/x.mp4", "/var/home/me/x.mp4", "/home/me/x.mp4/",
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("unreadable", [False, True])
def test_a_published_command_names_no_home(spelling: str, unreadable: bool) -> None:
    """Also where the whole line is one that no shell could read."""
    word = f"checkpoint={spelling}"
    command = f"run {word} seed='1" if unreadable else shlex.join(["run", word, f"+a.b={spelling}"])
    published = for_everybody(command)
    assert "x.mp4" in published
    for part in ("home", "me/", "users", "root", "userprofile", "~", "%2f", "..", "\\users", "file:"):
        assert part not in published.casefold().replace("/home/home", ""), published


@pytest.mark.parametrize(
    "spelling", ["~", "/home/me", "/home/me/", "$HOME", "${HOME}", "/root", "/Users/me", "file:///home/me"]
)
def test_a_home_itself_has_no_name(spelling: str) -> None:
    assert for_everybody(shlex.join(["run", f"root={spelling}"])) == "run root=home"


def test_a_home_behind_a_link_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk" / "alice").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "alice")
    monkeypatch.setenv("HOME", str(tmp_path / "link"))
    for place in (tmp_path / "link", tmp_path / "disk" / "alice", str(tmp_path / "disk" / "alice").upper()):
        assert for_everybody(f"run root={place} a={place}/x") == "run root=home a=x"


@pytest.mark.parametrize("field", ["variant", "pretrain", "protocol"])
def test_a_row_that_is_about_a_home_is_refused(clone: Path, field: str) -> None:
    source, target = clone / "outputs" / "leaderboards", clone / "leaderboards"
    row = make_row()
    upsert(
        source / "knn_mini.csv", [Row(row.key._replace(**{field: "root=/home/me/x"}), row.metrics, COMPLETE)], ["top1"]
    )
    (refused,) = publish(source, target).refused
    assert refused[2] == f"its {field} names a home folder: root=/home/me/x"


@pytest.mark.parametrize("times", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_publication_is_whole_or_none(clone: Path, times: int) -> None:
    """Killed before a system call, at places over all of it: every file is the old one or the new one, and a second publication
    either finds nothing changed or brings the first one to its end."""
    source, target = clone / "outputs" / "leaderboards", clone / "leaderboards"
    names = ("knn_mini", "linear_mini", "lost_mini")
    for name in names:
        upsert(target / f"{name}.csv", [make_row("simclr")], ["top1"])
        upsert(source / f"{name}.csv", [make_row("dino")], ["top1"])
        keep_outcomes(source, name, make_row("dino").key, {"items": np.array(["a"]), "top1": np.array([1.0])})
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "rows")

    def state() -> dict[str, bytes]:
        files = [path for path in target.rglob("*") if path.is_file() and ".writing" not in path.parts]
        return {str(path.relative_to(target)): path.read_bytes() for path in files}

    old, calls = state(), calls_of(lambda: publish(source, target), target)
    new = state()
    seen = set()
    for call in sorted({1, calls, *(max(1, calls * k // times) for k in range(1, times))}):
        git(clone, "clean", "-fdxq", "leaderboards")
        git(clone, "checkout", "--quiet", ".")
        assert killed_at(call, lambda: publish(source, target), target) == signal.SIGKILL
        found = state()
        assert all(found.get(name) in (old.get(name), new[name]) for name in new), call
        finish(target)
        seen.add(state() == new)
        assert state() in (old, new), call
    assert seen == {False, True}


def test_a_row_with_a_broken_seal_is_refused(clone: Path) -> None:
    source = clone / "outputs" / "leaderboards"
    upsert(source / "knn_mini.csv", [make_row("dino")], ["top1"])
    (source / "knn_mini.csv").write_text((source / "knn_mini.csv").read_text().replace(",41.0,", ",42.0,"))
    (refused,) = publish(source, clone / "leaderboards").refused
    assert refused[2] == "its seal is broken: somebody changed it"
    assert not (clone / "leaderboards" / "knn_mini.csv").exists()


ADDED = """
import sys
from pathlib import Path
from longtake.engine.freshness import reasons
from longtake.engine.history import diff
from longtake.leaderboards.rows import read
from longtake.tasks.publish import publish, publish_rows
source, target = map(Path, sys.argv[1:])
print(publish(source, target))
print(*diff(target, "HEAD"), sep="\\n")
path = target / "knn_mini.csv"
path.write_text(path.read_text().replace(",41.0,", ",42.0,"))
print(*(next(reasons(path, row)) for row in read(path, ["top1"])), sep="\\n")
"""


def test_rows_that_lack_a_new_provenance_column_are_published(clone: Path, tmp_path: Path) -> None:
    """Nor does the column, or the other seal that comes with it, show as a change of the rows that have nothing there."""
    source, target = clone / "outputs" / "leaderboards", clone / "leaderboards"
    upsert(target / "knn_mini.csv", [make_row("simclr"), make_row("dino")], ["top1"])
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "rows")
    upsert(source / "knn_mini.csv", [make_row("dino", COMPLETE._replace(config_hash="new"))], ["top1"])
    edits = {"schema.py": ('    note: str = ""  #', '    carbon_kg: float | None = None\n    note: str = ""  #')}
    published, count, *changes = run_edited(tmp_path / "edited", edits, ADDED, source, target).splitlines()
    assert published.startswith("published knn_mini: dino ")
    assert count == "1 published, 0 refused"
    assert changes[0].endswith(": changed, of another configuration")
    assert changes[1:] == [
        "    config_hash: c0ffee -> new",
        "edited: top1 41.0 -> 42.0, config_hash c0ffee -> new since the last commit",
        "edited: top1 41.0 -> 42.0 since the last commit",
    ]
    assert (target / "knn_mini.csv").read_text().splitlines()[0].endswith(",data_hash,tested_on,carbon_kg,note,seal")


def test_zero_frames_and_hours_are_known(clone: Path) -> None:
    source = clone / "outputs" / "leaderboards"
    upsert(source / "knn_mini.csv", [make_row("none", COMPLETE._replace(frames_seen=0, hours=0.0))], ["top1"])
    assert not publish(source, clone / "leaderboards").refused


def test_nothing_is_published_from_a_tree_with_changes(clone: Path) -> None:
    source = clone / "outputs" / "leaderboards"
    upsert(source / "knn_mini.csv", [make_row()], ["top1"])
    (clone / "run.py").write_text("changed\n")
    with pytest.raises(ValueError, match=r"uncommitted changes \(M run.py\); commit them first"):
        publish(source, clone / "leaderboards")
    assert not (clone / "leaderboards" / "knn_mini.csv").exists()


def test_nothing_is_published_outside_a_repository(tmp_path: Path) -> None:
    upsert(tmp_path / "from" / "knn_mini.csv", [make_row()], ["top1"])
    with pytest.raises(ValueError, match="is not in a git repository"):
        publish(tmp_path / "from", tmp_path)


def test_without_rows_there_is_nothing_to_publish(clone: Path) -> None:
    with pytest.raises(ValueError, match=r"no rows in .*; run an evaluation first"):
        publish(clone / "outputs" / "leaderboards", clone / "leaderboards")


def test_one_broken_board_keeps_all_from_being_published(clone: Path) -> None:
    source, target = clone / "outputs" / "leaderboards", clone / "leaderboards"
    (target / "linear_mini.csv").write_text("edited\n")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "broken")
    upsert(source / "knn_mini.csv", [make_row()], ["top1"])
    upsert(source / "linear_mini.csv", [make_row()], ["top1"])
    with pytest.raises(ValueError, match=r"linear_mini.csv: line 1"):
        publish(source, target)
    assert not (target / "knn_mini.csv").exists()


def test_the_commit_of_the_code(clone: Path) -> None:
    commit = code_commit(clone)
    assert len(commit) == 10
    assert git(clone, "rev-parse", "HEAD").startswith(commit)
    (clone / "leaderboards" / "knn_mini.csv").write_text("rows are no code\n")
    assert code_commit(clone) == commit
    (clone / "method.py").write_text("code is\n")
    assert code_commit(clone) == f"{commit}+dirty"


def test_the_commit_is_unknown_outside_the_root_of_a_repository(clone: Path, tmp_path: Path) -> None:
    assert code_commit(tmp_path) == "unknown"
    assert code_commit(clone / "leaderboards") == "unknown"
    git(tmp_path, "init", "--quiet", "empty")
    assert code_commit(tmp_path / "empty") == "unknown"


def test_rows_the_papers_numbers_and_readme_are_published_together(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole command, killed at five places: README is never empty, and has the rows or not as the leaderboards do."""
    target, readme = clone / "leaderboards", clone / "README.md"
    for name, value in (("TRACKED", target), ("REPOSITORY", clone), ("README", readme)):
        monkeypatch.setattr(f"longtake.tasks.publish.{name}", value)
    readme.write_text("before\n<!-- leaderboard: quick -->\n<!-- end of leaderboard -->\nafter\n")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "readme")
    upsert(
        clone / "outputs" / "leaderboards" / "knn_mini.csv", [make_knn("none", 20.0), make_knn("dino", 41.0)], METRICS
    )

    def work() -> None:
        publish_rows({"output": str(clone / "outputs")})

    def state() -> tuple[bool, bool, bool]:
        text, rows = readme.read_text(), target / "knn_mini.csv"
        assert text.startswith("before\n")
        assert text.endswith("after\n")
        return "41.0" in text, rows.exists() and "dino" in rows.read_text(), (target / "finetune_cifar10.csv").exists()

    calls = calls_of(work, clone)
    assert state() == (True, True, True)
    seen = set()
    for call in (1, calls // 3, calls * 2 // 3, calls - 3, calls):
        git(clone, "clean", "-fdxq", "-e", "outputs")
        target.mkdir(exist_ok=True)
        git(clone, "checkout", "--quiet", ".")
        assert killed_at(call, work, clone) == signal.SIGKILL
        state()
        finish(clone)
        assert state() in {3 * (False,), 3 * (True,)}
        seen.add(state()[0])
    assert seen == {False, True}
    git(clone, "checkout", "--quiet", ".")
    assert not list(clone.rglob("*.part*"))


def make_knn(method: str, value: float) -> Row:
    key = make_row(method).key._replace(protocol="knn-mini-v1")
    return Row(key, {"top1_k20": Estimate(value, value - 1, value + 1)}, COMPLETE)


def test_numbers_that_are_not_finite_are_refused(clone: Path) -> None:
    """Whatever wrote the files: `upsert` and `keep_outcomes` would not have."""
    source, target = clone / "outputs" / "leaderboards", clone / "leaderboards"
    rows = [make_row(method) for method in ("dino", "ibot", "swav", "simclr")]
    upsert(source / "knn_mini.csv", rows, ["top1"])
    wrong = {"ibot": [np.nan, np.nan], "swav": [1.0, np.inf], "simclr": ["a", "b"]}
    for row in rows:
        values = np.array(wrong.get(row.key.method, [1.0, np.nan]))
        path = outcomes_path(source, "knn_mini", row.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, key=np.array(json.dumps(row.key)), items=np.array(["a", "b"]), top1=values)
    publication = publish(source, target)
    assert [key.method for _, key in publication.published] == ["dino"]
    assert {key.method: reason for _, key, reason in publication.refused} == {
        "ibot": "its outcomes of top1 are not finite",
        "swav": "its outcomes of top1 are not finite",
        "simclr": "its outcomes of top1 are of type <U1, no numbers",
    }
    assert [row.key.method for row in read(target / "knn_mini.csv", ["top1"])] == ["dino"]


def test_a_damaged_file_of_outcomes_is_refused(clone: Path) -> None:
    source = clone / "outputs" / "leaderboards"
    upsert(source / "knn_mini.csv", [make_row("dino")], ["top1"])
    path = outcomes_path(source, "knn_mini", make_row("dino").key)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK nothing")
    ((_, _, reason),) = publish(source, clone / "leaderboards").refused
    assert "damaged file" in reason
    assert not (clone / "leaderboards" / "knn_mini.csv").exists()


def test_a_row_without_a_number_is_refused(clone: Path) -> None:
    source = clone / "outputs" / "leaderboards"
    upsert(source / "knn_mini.csv", [replace(make_row("dino"), metrics={})], ["top1"])
    ((_, _, reason),) = publish(source, clone / "leaderboards").refused
    assert reason == "it has no number"

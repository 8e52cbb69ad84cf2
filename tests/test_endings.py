"""How runs end that are disturbed: Ctrl-C, kill -9, a closed pipe, poor encodings, places where nothing can be written."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chaos import AtOpening, Refusing, run_in_a_copy
from small_runs import SMALL, run_folder, small_run
from started import PATIENCE, Started, wait_until

from longtake.engine import git
from longtake.engine.folders import in_utc, new_folder_in
from longtake.files import holder_of, locked

KNN = ("method=none", "backbone=vit_mini", "backbone.image_size=16", "eval=[knn_imagenet1k]", "eval.knn_imagenet1k.size=16",
       "eval.knn_imagenet1k.resize=16", "num_workers=0", "device=cpu")  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_line(printed: str, beginning: str) -> str:
    assert "Traceback" not in printed, printed
    (line,) = [line for line in printed.splitlines() if line.startswith(beginning)]
    return line


# When Ctrl-C comes: at the opening of which file, the how many-th one.
INTERRUPTED = {
    "frame store": (
        ["task=prepare", "pretrain=video", "pretrain.path={video}", "pretrain.short_side=32"],
        "build.lock",
        1,
    ),
    "decoding": (["task=prepare", "pretrain=video", "pretrain.path={video}", "pretrain.short_side=32"], "walk.mp4", 2),
    "evaluation": ([*KNN, "eval.knn_imagenet1k.root={pictures}", "output={output}"], ".png", 40),
    "a row": ([*KNN, "eval.knn_imagenet1k.root={pictures}", "output={output}"], "outcomes", 1),
    "leaderboard": (["task=leaderboard", "output={output}"], "leaderboard.md", 1),
}


@pytest.mark.parametrize(
    "when", [pytest.param(x, marks=[pytest.mark.slow] * (x == "leaderboard")) for x in INTERRUPTED]
)
def test_ctrl_c_is_one_line_and_130(place: Path, tiny_video: Path, tiny_folder: Path, when: str) -> None:
    shutil.copy(tiny_video, place / "walk.mp4")
    words, what, number = INTERRUPTED[when]
    places = {"video": place / "walk.mp4", "pictures": tiny_folder, "output": place / "out"}
    words = [word.format(**places) if word.partition("=")[2].startswith("{") else word for word in words]
    code, printed = run_in_a_copy(words, place, AtOpening(number, what, signal.SIGINT))
    assert code == 130, printed
    assert "give the same command again" in one_line(printed, "stopped")
    if when != "leaderboard":
        code, printed = run_in_a_copy(words, place)
        assert code == 0, printed


RENDERING = """
import os, signal, sys, time
from longtake.datasets.mini.jobs import in_order, workers
from slow_work import slow
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs behind it
    from longtake.tasks import TASKS
    from longtake.run import main

    def rendering(config):
        with workers(2) as pool:
            for pid in in_order(pool, slow, range(100_000)):
                print(pid, flush=True)

    TASKS._known["prepare"] = rendering
    sys.argv = ["run", "task=prepare"]
    main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_what_renders_ends_with_the_run(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C goes to all processes of the terminal; kill -9 to one, and the others have to notice."""
    (tmp_path / "rendering.py").write_text(RENDERING)
    (tmp_path / "slow_work.py").write_text(
        "import os, time\n\ndef slow(n):\n    time.sleep(0.05)\n    return os.getpid()\n"
    )
    run = Started([sys.executable, "rendering.py"], tmp_path / "printed.txt", cwd=tmp_path)

    def children() -> set[int]:
        return {int(line) for line in run.printed.read_text().splitlines(keepends=True) if re.fullmatch(r"\d+\n", line)}

    run.until(lambda: len(children()) == 2)
    (os.killpg if number == signal.SIGINT else os.kill)(run.pid, number)
    code, printed = run.ended()
    assert code == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in printed
    assert number != signal.SIGINT or one_line(printed, "stopped")
    wait_until(lambda: not any(map(alive, children())))


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_finished_data_are_used_where_nothing_can_be_written(place: Path, tiny_video: Path, tiny_folder: Path) -> None:
    """A data root of somebody else's: frame store, procedural worlds and listings are there; no lock is asked for."""
    shutil.copy(tiny_video, place / "walk.mp4")
    training = [*small_run(place / "walk.mp4", place / "out")]
    pictures = [*KNN, f"eval.knn_imagenet1k.root={tiny_folder}", f"output={place / 'out'}"]
    for words in (training, pictures):
        code, printed = run_in_a_copy(words, place)
        assert code == 0, printed
    before = sorted(place.joinpath("data").rglob("*"))
    for words in (training, pictures):
        code, printed = run_in_a_copy([*words, "seed=1"], place, Refusing(place / "data", errno.EROFS))
        assert code == 0, printed
    assert sorted(place.joinpath("data").rglob("*")) == before


def test_worlds_are_looked_for_before_they_are_locked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from longtake.datasets.mini import formats, world
    from longtake.datasets.mini.worlds import FORMATS_VERSION, World, world_folder

    def unlocked(*_: object) -> None:
        raise AssertionError("a lock was asked for")

    for module in (formats, world):
        monkeypatch.setattr(module, "locked", unlocked)
    here = World("tiny")
    folder = world_folder(here, place)
    folder.mkdir(parents=True)
    (voc := folder.with_name(f"{folder.name}-voc-v{FORMATS_VERSION}")).mkdir()
    assert world.prepare(here, place) == folder
    assert formats.prepare_voc(here, place) == voc


REFUSED = (errno.ENOSPC, errno.EIO)
SINKS = {
    "checkpoint": ("small", "last"), "encoder": ("small", "encoder"), "log": ("small", "logs"),
    "record": ("small", ".run."), "outcomes": ("knn", "outcomes"), "board": ("knn", "knn_imagenet1k.csv"),
    "page": ("task=leaderboard", "leaderboard.html"), "picture": ("task=leaderboard", "bars.png"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("sink", "number"),
    [
        pytest.param(sink, REFUSED[i % 2], marks=[pytest.mark.slow] * (sink in ("page", "picture")))
        for i, sink in enumerate(SINKS)
    ],
)
def test_a_disk_that_refuses_is_one_line_and_1(
    place: Path, tiny_video: Path, tiny_folder: Path, sink: str, number: int
) -> None:
    """At the opening of the file; the same command goes on."""
    shutil.copy(tiny_video, place / "walk.mp4")
    kind, what = SINKS[sink]
    kinds = {"small": [*SMALL, "pretrain.path=walk.mp4"], "knn": [*KNN, f"eval.knn_imagenet1k.root={tiny_folder}"]}
    words = [*kinds.get(kind, [kind]), f"output={place / 'out'}"]
    code, printed = run_in_a_copy(words, place, Refusing(place / "out", number, what))
    assert code == 1, printed
    assert os.strerror(number) in one_line(printed, "error: ")
    code, printed = run_in_a_copy(words, place)
    assert code == 0, printed


def test_no_folder_for_temporary_files_is_a_sentence() -> None:
    from longtake.engine.trouble import trouble

    said = trouble(FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/var/tmp']"))
    assert "TMPDIR=FOLDER" in str(said)


def test_a_reader_that_has_gone_is_one_line(place: Path, tiny_video: Path) -> None:
    """run ... | head -1"""
    command = [sys.executable, "-c", "from longtake.run import main; main()", *small_run(tiny_video, place / "out")]
    with (place / "error.txt").open("w") as stream:
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream)
    assert run.stdout is not None
    run.stdout.readline()
    run.stdout.close()
    assert run.wait(PATIENCE) == 1
    error = (place / "error.txt").read_text()
    assert "nobody reads any more" in one_line(error, "error: ")
    assert "Exception ignored" not in error


@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_stream_is_no_file_of_ours(place: Path, closed: int) -> None:
    """>&-: what is printed goes nowhere, and not into the next file that is opened."""
    code = f"import os; os.close({closed}); os.execv({sys.executable!r}, [{sys.executable!r}, '-c', CODE])"
    inner = (
        "from longtake.console import console, notes; import os; file = open('file', 'w'); "
        f"assert file.fileno() > 2; console.print('x'); notes.print('y'); os.write({closed}, b'z'); file.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"CODE = {inner!r}; {code}"], cwd=place, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (place / "file").read_text() == ""


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_signs_that_an_encoding_has_not_are_spelled_out(place: Path, locale: dict[str, str]) -> None:
    inner = r"from longtake.console import console, notes; console.print('\xb1 \xe9'); notes.print('\u20ac'); print('\udcff')"
    environment = {**os.environ, "PYTHONCOERCECLOCALE": "0", **locale}
    done = subprocess.run([sys.executable, "-c", inner], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"udcff" in done.stdout


def test_a_repository_that_git_does_not_trust_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch
    monkeypatch.setenv("HOME", str(tmp_path))
    for _ in range(2):
        assert git.code_commit(tmp_path) == "unknown"
    said = capsys.readouterr().err
    assert said.count("git does not trust") == 1
    assert f"git config --global --add safe.directory {tmp_path}" in said


HOLDING = (
    "import sys; from pathlib import Path; from longtake.files import locked\n"
    "with locked(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
)


def test_one_waits_for_a_lock_as_long_as_its_holder_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """And says for whom; the time-out is for holders of whom nobody knows: it is over when the holder is asked for a third time."""
    monkeypatch.setattr("longtake.files.SAID_AFTER", 0.2)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    assert holder_of(str(tmp_path / "lock")) == other.pid
    asked = []

    def holder(lock_file: str) -> int | None:
        asked.append(holder_of(lock_file))
        if len(asked) == 5:
            other.kill()
            other.wait()
        return asked[-1]

    monkeypatch.setattr("longtake.files.holder_of", holder)
    with locked(tmp_path / "lock", timeout=0.5):
        assert asked == [other.pid] * 5
    assert capfd.readouterr().err.count(f"waiting for process {other.pid}, which holds {tmp_path / 'lock'}") == 1


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.EPERM, errno.EBADF, errno.ESTALE, errno.ENXIO, errno.ECONNRESET, errno.EPROTO]
)
def test_a_lock_that_cannot_be_had_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    from longtake.engine.trouble import trouble

    def flock(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("filelock._unix.fcntl.flock", flock)
    with pytest.raises(OSError, match="lock: cannot be ") as caught, locked(tmp_path / "lock"):
        pass
    assert os.strerror(number) in str(trouble(caught.value))


def test_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = {new_folder_in(tmp_path, "x") for _ in range(3)}
    assert len(folders) == 3


def test_names_of_folders_are_in_utc_and_older_ones_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        stamp = time.strftime("%Y-%m-%d_%H", time.gmtime())
        assert new_folder_in(tmp_path, "x").name.startswith(stamp)
        assert in_utc("2026-01-01_09-30-00") == "2026-01-01_00-30-00"
        assert in_utc("2026-01-01_09-30-00_dino") == "2026-01-01_00-30-00_dino"
        assert in_utc("my run") == "my run"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_second_process_at_a_living_run_is_refused(
    place: Path, tiny_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longtake.engine.folders.LEAVING_HERE", 0.5)
    words = small_run(tiny_video, place / "out")
    code, printed = run_in_a_copy(words, place)
    assert code == 0, printed
    lock = run_folder(place / "out") / ".running.lock"
    with locked(lock):
        code, printed = run_in_a_copy([*words, "resume=true"], place)
    assert code == 2
    assert f"another process is at this run (process {os.getpid()})" in one_line(printed, "error: ")

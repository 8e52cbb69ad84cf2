"""Files and locks where the system refuses: a sentence that names the file and what helps, and what was there before stays."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file

from longtake import files
from longtake.engine.trouble import trouble
from longtake.files import Refused, replace, settle, sole_writer, succeed, whole

WRITERS = {
    "text": lambda path: path.write_text("x" * 100_000),
    "torch.save": lambda path: torch.save(torch.zeros(100_000), path),
    "safetensors": lambda path: save_file({"x": torch.zeros(100_000)}, path),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_over_the_limit_of_the_shell_is_named(tmp_path, kind):
    """ulimit -f, in a process of its own: what cannot be written is a sentence, and the file before is as it was."""
    (tmp_path / "file").write_text("before")
    code = (
        "import resource, sys; from pathlib import Path; from test_files import WRITERS; from longtake.files import whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n    with whole(Path(sys.argv[1])) as part: WRITERS[sys.argv[2]](part)\n"
        "except OSError as error: print(type(error).__name__, error)"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(Path(__file__).parent)]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file"), kind], env=environment, capture_output=True, text=True
    )
    assert done.stdout.startswith(f"Refused {tmp_path / 'file'}: cannot be written: "), done.stdout + done.stderr
    assert "; lift the limit on a file's size (ulimit -f unlimited)" in done.stdout or kind == "torch.save"
    assert (tmp_path / "file").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


FULL = {
    errno.ENOSPC: "No space left on device; make room there (df -h, df -i)",
    errno.EDQUOT: "Disk quota exceeded; make room within your quota (quota -s)",
    errno.EROFS: "Read-only file system; choose a folder that can be written",
}


@pytest.mark.parametrize("number", FULL)
def test_a_full_disk_leaves_the_file_before(tmp_path, monkeypatch, number):
    path = tmp_path / "rows.csv"
    with sole_writer(path):
        replace(path, b"before")

    def refused(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "settle", refused)  # a network file system may say it as late as that
    for write in (lambda: replace(path, b"after"), lambda: wholly(path)):
        with sole_writer(path), pytest.raises(Refused) as caught:
            write()
        assert str(caught.value) == f"{path}: cannot be written: {FULL[number]}"
        assert trouble(caught.value) == str(caught.value)
        assert path.read_bytes() == b"before"


def wholly(path: Path) -> None:
    with whole(path) as part:
        part.write_bytes(b"after")


def test_errors_about_other_files_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), whole(tmp_path / "file") as part:
        part.write_bytes((tmp_path / "nowhere" / "x").read_bytes())
    with pytest.raises(KeyError), whole(tmp_path / "file"):
        {}["x"]
    assert not list(tmp_path.iterdir())


def test_a_file_reaches_the_disk_before_its_name_and_the_name_before_anything_else(tmp_path, monkeypatch):
    done: list[str] = []
    rename = os.replace
    monkeypatch.setattr(files, "settle", lambda path: done.append(f"settle {path.name}"))
    monkeypatch.setattr(files.os, "replace", lambda old, new: (done.append(f"{Path(new).name}"), rename(old, new)))
    wholly(tmp_path / "a.csv")
    assert [word.split(".")[0] if word.startswith("settle .") else word for word in done] == [
        "settle ",
        "a.csv",
        f"settle {tmp_path.name}",
    ]
    done.clear()
    replace(tmp_path / "b.csv", b"")
    assert done == ["settle b.csv", "b.csv", f"settle {tmp_path.name}"]
    done.clear()
    (tmp_path / "last.part").touch()
    succeed(tmp_path / "last.part", tmp_path / "last.ckpt", tmp_path / "previous.ckpt")
    assert done == ["settle last.part", "last.ckpt", f"settle {tmp_path.name}"]


def test_folders_that_cannot_be_asked_are_not(tmp_path, monkeypatch):
    def refused(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    settle(tmp_path)
    monkeypatch.setattr(files.os, "fsync", refused)
    settle(tmp_path)  # some network file systems


def test_a_file_system_without_locks_still_has_one_writer(tmp_path, monkeypatch):
    def flock(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock._unix.fcntl.flock", flock)
    monkeypatch.setattr(files, "PATIENCE", 0.2)
    path = tmp_path / "rows.csv"
    with pytest.warns(UserWarning, match="has no locks"), sole_writer(path):  # noqa: SIM117
        with (
            pytest.raises(ValueError, match=r"rows.csv.lock.held: another process has held it for 0 s"),
            sole_writer(path),
        ):
            pass
    with pytest.warns(UserWarning, match="has no locks"), sole_writer(path):
        replace(path, b"x")


def test_a_lock_that_is_held_for_long_is_named(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    with (
        sole_writer(path),
        pytest.raises(ValueError, match=r"rows.csv.lock: another process has held it"),
        sole_writer(path),
    ):
        pass
    with FileLock(tmp_path / ".writing" / "rows.csv.lock", timeout=0):
        pass


def test_a_lock_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    def flock(*args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("filelock._unix.fcntl.flock", flock)
    told = r"rows.csv.lock: cannot be written: Input/output error; look after the disk"
    with pytest.raises(Refused, match=told), sole_writer(tmp_path / "rows.csv"):
        pass


TROUBLE = {
    "memory": (MemoryError(), "there is not enough memory"),
    "numpy": (MemoryError("Unable to allocate 7.45 GiB for an array with shape (1000000000,)"), "Unable to allocate 7.45 GiB"),
    "PyTorch": (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), "ulimit -v"),
    "GPU": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"), "use a smaller batch_size"),
    "quota": (OSError(errno.EDQUOT, "Disk quota exceeded", "/data/x.csv"), "/data/x.csv: cannot be written: Disk quota exceeded;"),
    "open files": (OSError(errno.EMFILE, "Too many open files", "/data/x"), "/data/x: Too many open files: lift the limit"),
    "worker": (RuntimeError("DataLoader worker (pid 12) is killed by signal: Bus error. It is possible"), "was killed (Bus error)"),
    "workers": (RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly"), "a data worker has ended"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TROUBLE)
def test_troubles_of_a_machine_are_sentences(kind):
    error, sentence = TROUBLE[kind]
    assert sentence in str(trouble(error))
    assert "\n" not in str(trouble(error))


@pytest.mark.parametrize(
    "bug", [RuntimeError("mat1 and mat2 shapes"), KeyError("x"), FileNotFoundError(2, "No such", "x")]
)
def test_a_bug_is_none(bug):
    assert trouble(bug) is None

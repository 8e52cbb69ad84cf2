"""Data workers: no run waits for a batch that cannot come."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_runs import run_folder, small_run
from started import PATIENCE, Started

from longtake.engine import workers


@pytest.fixture
def docker(monkeypatch):
    """A machine with so much shared memory."""

    def has(free: int) -> None:
        monkeypatch.setattr(workers, "free_bytes", lambda: free)

    return has


@pytest.mark.parametrize(
    ("words", "pages", "fitting"),
    [  # pages of 4 KiB: two global views, a local one and the numbers of 4 clips, so many times; then the locks
        (["num_workers=1"], (3 + 3 + 1 + 1) * 3 + 14, "num_workers=0"),
        (["num_workers=7"], (3 + 3 + 1 + 1) * 4 + 38, "num_workers=6 (or 0)"),  # there are only four batches
        (["num_workers=3", "method.num_frames=2", "epochs=9"], (6 + 6 + 2 + 1) * 7 + 22, "num_workers=2 (or 0)"),
        (["num_workers=1", "trainer.augment=device"], (4 * 2 + 1) * 3 + 14, "num_workers=0"),  # frames, a byte a value
    ],
)
def test_too_little_shared_memory_is_said_before_the_start(said, docker, tiny_video, tmp_path, words, pages, fitting):
    words = [*small_run(tiny_video, tmp_path / "out"), *words]
    docker(pages * 4096 - 1)
    code, _, error = said(*words)
    assert code == 2
    error = error.splitlines()[-1]  # views that are made late: the frame store, whose size decides, comes first
    for part in ("error: training: ", "/dev/shm", "docker run --shm-size=1g", f"or {fitting}"):
        assert part in error, error
    assert not list((tmp_path / "out").glob("*_dino_*"))
    docker(pages * 4096)
    assert said(*words, *(["dry_run=true"] if "trainer.augment=device" not in words else []))[0] == 0
    docker(0)
    assert said(*words, "num_workers=0", "dry_run=true")[0] == 0


def test_an_evaluation_has_to_find_room_too(said, docker, tiny_video, tiny_folder, tmp_path):
    words = [*small_run(tiny_video, tmp_path / "out")[:-3], "eval=[knn_imagenet1k]", "dry_run=true", "pretrain=video"]
    words += [f"pretrain.path='{tiny_video}'", f"output={tmp_path / 'out'}", f"eval.knn_imagenet1k.root={tiny_folder}"]
    words += ["eval.knn_imagenet1k.size=16", "eval.knn_imagenet1k.resize=16", "eval.knn_imagenet1k.num_workers=2"]
    docker(64 * 2**20)
    assert said(*words)[0] == 0
    code, _, error = said(*words, "eval.knn_imagenet1k.size=224", "eval.knn_imagenet1k.resize=224")
    assert code == 2
    assert "eval.knn_imagenet1k: 2 data worker(s) hand over up to 770.8 MB" in error
    assert "eval.knn_imagenet1k.num_workers=0" in error


def test_a_system_without_shared_memory_is_asked_nothing(monkeypatch):
    def unknown(path: Path) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(workers.os, "statvfs", unknown)
    assert workers.free_bytes() is None
    monkeypatch.setattr(workers.os, "statvfs", lambda path: SimpleNamespace(f_bavail=0, f_frsize=4096, f_blocks=0))
    assert workers.free_bytes() is None  # of no limit


LOST = """
import torch
from longtake.engine.workers import death, end_with_lost_batches

class Batches(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return lambda: index  # nothing that can be handed over

end_with_lost_batches()
try:
    list(torch.utils.data.DataLoader(Batches(), batch_size=None, num_workers=1))
except RuntimeError as error:
    print(death(error))
"""


def test_a_batch_that_is_lost_ends_its_worker():
    """As with "No space left on device": multiprocessing prints a traceback and goes on, and the loader waits for ever."""
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, timeout=PATIENCE)
    assert "a data worker has ended" in done.stdout, done.stdout + done.stderr
    assert "a data worker cannot hand over its batch: " in done.stderr


def test_a_worker_that_is_gone_when_its_batch_is_fetched_has_died():
    def rebuild_storage_fd() -> None:  # of torch.multiprocessing
        raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(ConnectionResetError) as caught:
        rebuild_storage_fd()
    assert "a data worker has ended" in workers.death(caught.value)
    assert workers.death(ConnectionResetError(104, "Connection reset by peer")) is None


def children(process: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process:
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize(
    ("codes", "said"),
    [((-15, -9), "was killed (Killed)"), ((None, 1), "has ended"), ((-15,), "was killed (Terminated)")],
)
def test_who_died_of_what_is_asked_of_the_workers(codes, said):
    """Where PyTorch has noticed the end of one in another way than by the signal, and does not name that."""

    class Loader:
        def __init__(self) -> None:
            self._workers = [SimpleNamespace(exitcode=code) for code in codes]

        def fetch(self) -> None:
            raise RuntimeError("DataLoader worker (pid(s) 5) exited unexpectedly")

    with pytest.raises(RuntimeError) as caught:
        Loader().fetch()
    assert f"a data worker {said}: " in workers.death(caught.value)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs a list of processes")
def test_a_killed_worker_ends_the_run_in_a_sentence(said, tiny_video, tmp_path):
    """As the kernel kills one where memory is short; what was saved is said, and goes on to the end."""
    words = [*small_run(tiny_video, tmp_path / "out"), "num_workers=1", "trainer.checkpoint_minutes=0"]
    command = [sys.executable, "-c", "from longtake.run import main; main()", *words, "epochs=4000"]
    process = Started(command, tmp_path / "printed.txt")
    process.until(lambda: list((tmp_path / "out").glob("*_dino_*/last.ckpt")))
    (worker,) = children(process.pid)
    os.kill(worker, signal.SIGKILL)
    code, error = process.ended()
    assert code == 1, error
    folder = run_folder(tmp_path / "out")
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert "a data worker was killed (Killed)" in line
    assert f"in {folder}; to go on, give the same command with resume=true" in line
    assert "Traceback" not in error

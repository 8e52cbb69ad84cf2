"""Stores of tiny videos; a killed build must end in the same bytes as one that was left alone."""

import errno
import gc
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import av
import lmdb
import numpy as np
import pytest
import torch
from chaos import at_most
from filelock import FileLock
from started import PATIENCE, wait_until
from torch.utils.data import DataLoader

from longtake.datasets import frame_writer, frames, store_size
from longtake.datasets.frame_store import FrameStore
from longtake.datasets.frames import StoreSpec, build, store_folder
from longtake.datasets.packets import VideoError
from longtake.datasets.store_size import allocated
from longtake.datasets.video import decode

SPEC = StoreSpec(short_side=48)


def write(path: Path, num_frames: int, seed: int = 0, size: tuple[int, int] = (64, 96)) -> Path:
    """A moving texture at 25 frames per second, a key frame every 30, B-frames between."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (size[0] // 8, 2 * size[1] // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"g": "30", "bf": "3", "preset": "ultrafast"}
        for i in range(num_frames):
            image = np.ascontiguousarray(np.roll(texture, -3 * i, 1)[:, : size[1]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def damage(path: Path, packet: int) -> Path:
    """Random bytes in place of one packet's, in decoding order; its length and first bytes stay."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size][packet]
        position, size = found.pos, found.size
    content = bytearray(path.read_bytes())
    content[position + 6 : position + size] = np.random.default_rng(1).bytes(size - 6)
    path.write_bytes(content)
    return path


@pytest.fixture
def videos(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / "a.mp4", 70), write(tmp_path / "b.mp4", 33, seed=1, size=(96, 64))]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_writer, "BLOCK", 16)


def test_a_store_holds_the_frames_of_its_videos(videos: list[Path], tmp_path: Path) -> None:
    store = build(videos, SPEC, tmp_path / "stores", progress=False)
    decoded = [list(decode(video, short_side=48)) for video in videos]
    assert len(store) == 103
    np.testing.assert_array_equal(store.video, [0] * 70 + [1] * 33)
    np.testing.assert_array_equal(store.seconds, [f.seconds for video in decoded for f in video])
    assert not store.shot.any()
    assert store.lost == store.cuts == [[], []]
    assert not store.blank.any()
    assert [source["name"] for source in store.info["sources"]] == ["a.mp4", "b.mp4"]
    first, second = store.read([69, 0, 0]), store.read(np.array([70, 102]))
    assert (first.dtype, first.shape, second.shape) == (torch.uint8, (3, 3, 48, 72), (2, 3, 72, 48))
    expected = [decoded[0][k] for k in (69, 0, 0)] + [decoded[1][k] for k in (0, 32)]
    for image, frame in zip([*first, *second], expected, strict=True):
        error = image.permute(1, 2, 0).numpy().astype(float) - frame.image  # a JPEG with halved colour resolution
        assert abs(error.mean()) < 1
        assert np.sqrt((error.mean(2) ** 2).mean()) < 6
    with pytest.raises(IndexError, match="frame 103 of 103"):
        store.read([103])


def test_only_the_frames_on_the_lattice_are_kept(videos: list[Path], tmp_path: Path) -> None:
    store = build(videos, StoreSpec(short_side=48, frames_per_second=5), tmp_path, progress=False)
    np.testing.assert_allclose(store.seconds, [*np.arange(14) / 5, *np.arange(7) / 5])


# CIE 1976: L* = 116 (Y / Yn)^(1/3) - 16 with Y of sRGB grey 119 = 0.1845, hence L* = 50.0; black 0, white 100
@pytest.mark.parametrize(("grey", "lightness"), [(0, 0.0), (119, 50.0), (255, 100.0)])
def test_lightness(grey: int, lightness: float) -> None:
    assert frame_writer.lightness(np.full((40, 60, 3), grey, np.uint8)).mean() == pytest.approx(lightness, abs=0.3)


class Stop(Exception):
    pass


def stop_after(count: int, stop: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the build end when `count` JPEGs are made."""
    jpeg, made = frame_writer.jpeg_of, []

    def counting(*args: object) -> bytes:
        made.append(1)
        if len(made) > count:
            stop()
        return jpeg(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(frame_writer, "jpeg_of", counting)


def stop() -> None:
    raise Stop


# blocks of 16: inside the first, at a border, inside the second, inside the last of video a, at its end, in video b
@pytest.mark.parametrize("counts", [(5,), (16,), (20,), (69,), (70,), (90,), (20, 20, 20)])
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.usefixtures("small_blocks")
def test_a_stopped_build_ends_in_the_same_store(
    videos: list[Path], tmp_path: Path, counts: tuple[int, ...], broken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken:
        damage(videos[0], 24)
    spec = StoreSpec(short_side=48, frames_per_second=None if counts[0] != 20 else 20)
    options = {"skip_corrupt": broken, "progress": False}
    whole = build(videos, spec, tmp_path / "whole", **options)
    assert (len(whole.lost[0]) > 3) == broken
    for count in counts:
        with monkeypatch.context() as patch:
            stop_after(count, stop, patch)
            with pytest.raises(Stop):
                build(videos, spec, tmp_path / "parts", **options)
        with pytest.raises(ValueError, match="unfinished"):
            FrameStore(store_folder(tmp_path / "parts", videos, spec))
    again = build(videos, spec, tmp_path / "parts", **options)
    assert again.content_hash() == whole.content_hash()


def build_until_killed(videos: list[Path], root: Path, count: int) -> None:
    at_most()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_writer, "BLOCK", 16)
        stop_after(count, lambda: os.kill(os.getpid(), signal.SIGKILL), patch)
        build(videos, SPEC, root, progress=False)


@pytest.mark.parametrize("count", range(3, 103, 10))
def test_a_killed_build_ends_in_the_same_store(
    videos: list[Path], tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = multiprocessing.get_context("fork").Process(target=build_until_killed, args=(videos, tmp_path, count))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    monkeypatch.setattr(frame_writer, "BLOCK", 16)
    again = build(videos, SPEC, tmp_path, progress=False)
    assert again.content_hash() == build(videos, SPEC, tmp_path / "whole", progress=False).content_hash()


def test_a_full_disk_leaves_a_store_that_goes_on(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_writer, "BLOCK", 16)
    with monkeypatch.context() as patch:
        patch.setattr(store_size, "MAX_MAP", 150_000)
        with pytest.raises(
            ValueError, match=r"the disk is full .*; what is stored is safe: make room and run the same"
        ):
            build(videos, SPEC, tmp_path, progress=False)
    with lmdb.open(str(store_folder(tmp_path, videos, SPEC)), readonly=True, lock=False) as environment:
        assert environment.stat()["entries"] > 17
    whole = build(videos, SPEC, tmp_path / "whole", progress=False)
    assert build(videos, SPEC, tmp_path, progress=False).content_hash() == whole.content_hash()


LIMITED = """
import resource, sys
from pathlib import Path
from longtake.datasets import frame_writer
from longtake.datasets.frames import StoreSpec, build

frame_writer.BLOCK = 16
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit, room = sys.argv[1], int(sys.argv[2])
resource.setrlimit(getattr(resource, limit), (room + (used if limit == "RLIMIT_AS" else 0),) * 2)
try:
    build([Path(sys.argv[4]), Path(sys.argv[5])], StoreSpec(short_side=48), Path(sys.argv[3]), progress=False)
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs limits of processes")
@pytest.mark.parametrize(
    ("limit", "room", "sentence"),
    [
        (
            "RLIMIT_FSIZE",
            150_000,
            r"; what is stored is safe: make room, lift the limit of 150,000 bytes a file \(ulimit -f unlimited\) and run the same",
        ),
        ("RLIMIT_AS", 2_000_000_000, None),  # ulimit -v: a smaller map does for a small store
    ],
)
def test_a_limit_of_the_shell_leaves_a_store_that_goes_on(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, room: int, sentence: str | None
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, limit, str(room), str(tmp_path), *map(str, videos)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    folder = store_folder(tmp_path, videos, SPEC)
    if sentence is None:
        assert done.stdout == "", done.stdout
        assert FrameStore(folder).content_hash()
    else:
        assert str(folder) in done.stdout
        assert re.search(sentence, done.stdout), done.stdout
        with lmdb.open(str(folder), readonly=True, lock=False) as environment:
            assert environment.stat()["entries"] > 17
    monkeypatch.setattr(frame_writer, "BLOCK", 16)
    whole = build(videos, SPEC, tmp_path / "whole", progress=False)
    assert build(videos, SPEC, tmp_path, progress=False).content_hash() == whole.content_hash()


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        (lmdb.MemoryError("data: Cannot allocate memory"), "lift the limit (ulimit -v unlimited)"),
        (lmdb.Error("mdb_txn_commit: Disk quota exceeded"), "Disk quota exceeded); what is stored is safe: make room"),
        (lmdb.DiskError("mdb_put: No space left on device"), "what is stored is safe: make room"),
        (MemoryError(), "lift the limit (ulimit -v unlimited)"),
    ],
)
def test_what_lmdb_refuses_is_a_sentence(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, helps: str
) -> None:
    def refuse(*args: object, **keywords: object) -> None:
        raise error

    monkeypatch.setattr(frames.lmdb, "open", refuse)
    with pytest.raises(ValueError, match=re.escape(helps)) as caught:
        build(videos, SPEC, tmp_path, progress=False)
    assert str(store_folder(tmp_path, videos, SPEC)) in str(caught.value)
    assert "run the same command again" in str(caught.value)


def test_a_store_that_cannot_be_opened_is_named(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(videos, SPEC, tmp_path, progress=False)
    folder = store_folder(tmp_path, videos, SPEC)
    gc.collect()  # who has it open keeps it open
    (folder / "data.mdb").write_bytes(b"no store" * 9000)
    with pytest.raises(ValueError, match=rf"{folder}: cannot read the frame store .*; delete the folder to rebuild it"):
        build(videos, SPEC, tmp_path, progress=False)

    def refuse(*args: object, **keywords: object) -> None:
        raise lmdb.MemoryError("data: Cannot allocate memory")

    monkeypatch.setattr(frames.lmdb, "open", refuse)
    with pytest.raises(ValueError, match=rf"{folder}: the address space is limited .*ulimit -v unlimited"):
        build(videos, SPEC, tmp_path, progress=False)


def test_a_file_system_without_locks_is_said_to_have_none_and_works(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock._unix.fcntl.flock", flock)
    with pytest.warns(UserWarning, match="this file system has no locks"):
        store = build(videos, SPEC, tmp_path, progress=False)
    assert len(store) == 103
    assert not list(tmp_path.glob("*/*.held"))


@pytest.mark.parametrize("num_threads", [1, 5])
def test_any_number_of_threads_writes_the_same(
    videos: list[Path], tmp_path: Path, num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build(videos, SPEC, tmp_path / "whole", progress=False)
    monkeypatch.setattr("joblib.cpu_count", lambda: num_threads)
    assert build(videos, SPEC, tmp_path / "again", progress=False).content_hash() == whole.content_hash()


def test_a_finished_store_is_not_decoded_again(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = build(videos, SPEC, tmp_path, progress=False)
    stop_after(0, stop, monkeypatch)
    assert build(videos, SPEC, tmp_path, progress=False).content_hash() == store.content_hash()


@pytest.mark.usefixtures("small_blocks")
def test_damage_stops_the_build_unless_it_may_be_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = damage(write(tmp_path / "walk.mp4", 100), 50)
    with pytest.raises(VideoError, match=r"walk\.mp4: cannot decode the frame at about 1\.\d\d s; .*skip_corrupt=true"):
        build([video], SPEC, tmp_path / "stores", progress=False)
    store = build([video], SPEC, tmp_path / "stores", skip_corrupt=True, progress=False)
    assert len(store) + len(store.lost[0]) == 100
    message = capsys.readouterr().err.replace("\n", "")
    assert f"{len(store.lost[0])} corrupt frames skipped, the first at about {store.lost[0][0]:.2f} s" in message
    assert (
        build([video], SPEC, tmp_path / "b", skip_corrupt=True, progress=False).content_hash() == store.content_hash()
    )


def test_the_folder_depends_on_content_and_spec_alone(videos: list[Path], tmp_path: Path) -> None:
    folder = store_folder(tmp_path, videos, SPEC)
    assert folder.name.startswith("a-")
    (tmp_path / "elsewhere").mkdir()
    moved = videos[0].rename(tmp_path / "elsewhere" / "a.mp4")
    assert store_folder(tmp_path, [moved, videos[1]], SPEC) == folder
    assert store_folder(tmp_path, [videos[1], moved], SPEC) != folder
    assert store_folder(tmp_path, [moved, videos[1]], StoreSpec(short_side=47)) != folder
    damage(moved, 3)
    assert store_folder(tmp_path, [moved, videos[1]], SPEC) != folder


def test_a_second_build_waits_and_says_so(
    videos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store_folder(tmp_path, videos, SPEC)
    folder.mkdir()
    done = threading.Event()
    with FileLock(folder / "build.lock"):
        second = threading.Thread(target=lambda: (build(videos, SPEC, tmp_path, progress=False), done.set()))
        second.start()
        said: list[str] = []
        wait_until(lambda: said.append(capsys.readouterr().err) or "waiting for it" in "".join(said).replace("\n", " "))
        assert not done.is_set()
    second.join(PATIENCE)
    assert done.is_set()
    assert len(FrameStore(folder)) == 103


def test_a_store_of_another_version_is_refused(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "VERSION", 99)
    with pytest.raises(ValueError, match=r"frame store of version 99, expected 2; delete the folder"):
        build(videos, SPEC, tmp_path, progress=False)


def test_too_little_disk_is_noticed_before_decoding(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(0, stop, monkeypatch)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(store_size.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**4))
    with pytest.raises(ValueError, match=r"may take 0\.0 GB and 0\.0 GB are free; free space, or lower short_side"):
        build(videos, SPEC, tmp_path, progress=False)


def test_a_folder_that_cannot_be_made_is_refused(videos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot write here .*; choose another folder"):
        build(videos, SPEC, tmp_path / "file", progress=False)


@pytest.mark.parametrize("wrong", [{"short_side": 0}, {"quality": 101}, {"frames_per_second": -1.0}])
def test_a_spec_out_of_range_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="expected short_side > 0, quality 1-100"):
        StoreSpec(**wrong)


def test_forked_workers_and_pickled_stores_read_the_same_frames(videos: list[Path], tmp_path: Path) -> None:
    store = build(videos, SPEC, tmp_path, progress=False)
    expected = [store.read([i, i + 1]) for i in range(8)]
    loader = DataLoader(Pairs(store), batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert all(torch.equal(a, b) for a, b in zip(loader, expected, strict=True))
    assert len(pickle.dumps(store)) < 500  # a path, neither map nor arrays
    assert pickle.loads(pickle.dumps(store)).content_hash() == store.content_hash()


class Pairs(torch.utils.data.Dataset):
    def __init__(self, store: FrameStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.store.read([index, index + 1])


def test_bytes_on_the_disk_where_the_system_does_not_tell() -> None:
    assert allocated(SimpleNamespace(st_size=5000, st_blocks=8)) == 4096
    assert allocated(SimpleNamespace(st_size=5000)) == 5000  # Windows

"""From videos to a frame store: each video is decoded once, in order, and never again.

`build` writes in transactions of `BLOCK` frames. A build that was killed goes on after its last transaction, and the
finished store equals that of an undisturbed build.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Float64, UInt8
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from longtake.datasets.frame_store import (
    FRAME,
    VERSION,
    FrameStore,
    key_of,
    open_environment,
    read_info,
    read_json,
    read_records,
)
from longtake.datasets.video import DecodedFrame, VideoInfo, decode, probe

BLOCK = 256  # frames per transaction: about 10 MB, half a second of work lost by a kill
# JPEG bytes per pixel at these qualities: the most demanding of four videos (a juggler before grass) at short side 360.
QUALITIES, BYTES_PER_PIXEL = (75, 90, 95), (0.26, 0.45, 0.64)
HASHED_PART = 1 << 22  # bytes
MAX_MAP = 1 << 40  # bytes of address space

_console = Console(stderr=True)


@dataclass(frozen=True)
class StoreSpec:
    """Which frames of a video are kept, and how.

    `short_side` in pixels (smaller videos keep their size), `quality` of the JPEG; `frames_per_second` None keeps all
    frames, else those nearest to the times n / frames_per_second.
    """

    short_side: int = 360
    quality: int = 90
    frames_per_second: float | int | None = None

    def __post_init__(self) -> None:
        if self.short_side < 1 or not 1 <= self.quality <= 100 or (self.frames_per_second or 1) <= 0:
            raise ValueError(f"frame store: got {self}, expected short_side > 0, quality 1-100, frames_per_second > 0")
        if self.frames_per_second is not None:  # 5 and 5.0 are one store
            object.__setattr__(self, "frames_per_second", float(self.frames_per_second))


def build(
    sources: Sequence[Path], spec: StoreSpec, root: Path, *, skip_corrupt: bool = False, progress: bool = True
) -> FrameStore:
    """Open the store of these videos under `root`, decoding them first as far as that is not done.

    A second build of the same store waits for the first. Raises `VideoError` for what cannot be decoded (with
    `skip_corrupt`, damaged frames are left out, counted and reported), `ValueError` for a folder that cannot be
    written, too little disk or a store of another version.
    """
    infos = [probe(path, skip_corrupt=skip_corrupt) for path in sources]
    path = store_folder(root, sources, spec)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path}: cannot write here ({error.strerror}); choose another folder") from error
    with _alone(path):
        found = read_info(open_environment(path)) if _bytes_in(path) else None
        if found is None or not found["complete"]:
            _check_disk(path, infos, spec)
            _write(path, infos, spec, skip_corrupt, progress)
    store = FrameStore(path)
    for info, lost in zip(infos, store.lost, strict=True):
        if lost:
            _console.print(f"{info.path}: {len(lost)} corrupt frames skipped, the first at about {lost[0]:.2f} s")
    return store


def store_folder(root: Path, sources: Sequence[Path], spec: StoreSpec) -> Path:
    """Where `build` puts a store: the first video's name and a hash of the spec and of what is in the files."""
    identity = json.dumps([asdict(spec), [source_hash(path) for path in sources]])
    return root / f"{sources[0].stem}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def source_hash(path: Path) -> str:
    """SHA-256 of the size and, to be quick with huge files, of 4 MiB each at the beginning, the middle and the end."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for offset in sorted({0, max(0, (size - HASHED_PART) // 2), max(0, size - HASHED_PART)}):
            file.seek(offset)
            digest.update(file.read(HASHED_PART))
    return digest.hexdigest()


def _write(path: Path, infos: Sequence[VideoInfo], spec: StoreSpec, skip_corrupt: bool, progress: bool) -> None:
    info = {
        "version": VERSION,
        "spec": asdict(spec),
        "sources": [
            {"name": i.path.name, "hash": source_hash(i.path), "codec": i.codec, "width": i.width, "height": i.height}
            | {"fps": i.fps, "seconds": i.seconds}
            for i in infos
        ],
    }
    # the map is address space, and a store can never outgrow the disk
    size = min(MAX_MAP, shutil.disk_usage(path).free + _bytes_in(path))
    with lmdb.open(str(path), map_size=size) as environment, _bar(progress) as bar:
        with environment.begin(write=True) as transaction:
            transaction.put(b"store", json.dumps(info | {"complete": False}).encode())
            transaction.put(b"lost", json.dumps([[] for _ in infos]).encode(), overwrite=False)
        task = bar.add_task("", total=sum(_num_kept(i, spec) for i in infos), completed=len(read_records(environment)))
        for video, source in enumerate(infos):
            _write_video(environment, video, source, spec, skip_corrupt, bar, task)
        with environment.begin(write=True) as transaction:
            transaction.put(b"store", json.dumps(info | {"complete": True}).encode())


def _write_video(
    environment: lmdb.Environment,
    video: int,
    source: VideoInfo,
    spec: StoreSpec,
    skip: bool,
    bar: Progress,
    task: TaskID,
) -> None:
    """Add the frames of one video that are not there yet, block by block."""
    stored = read_records(environment)
    if len(stored) and stored["video"][-1] > video:
        return
    all_lost = read_json(environment, b"lost")
    with environment.begin() as transaction:
        last_jpeg = transaction.get(key_of(b"jpeg", len(stored) - 1)) if len(stored) else None
    done = stored["seconds"][stored["video"] == video]
    lost = [t for t in all_lost[video] if len(done) and t < done[-1]]  # what comes later is found again
    frames = _remaining(source.path, spec, done, last_jpeg, lost, skip)
    first = len(stored)
    while True:
        records, jpegs = [], []
        for seconds, image in islice(frames, BLOCK):
            records.append((seconds, video, 0, _lightness(image)))
            jpegs.append(_jpeg(image, spec.quality))
            bar.advance(task)
        all_lost[video] = lost
        with environment.begin(write=True) as transaction:
            transaction.put(b"lost", json.dumps(all_lost).encode())
            for index, jpeg in enumerate(jpegs, start=first):
                transaction.put(key_of(b"jpeg", index), jpeg)
            if records:
                transaction.put(key_of(b"block", first), np.array(records, FRAME).tobytes())
        first += len(records)
        if len(records) < BLOCK:
            return


def _remaining(
    path: Path, spec: StoreSpec, done: Float64[np.ndarray, "n"], last_jpeg: bytes | None, lost: list[float], skip: bool
) -> Iterator[DecodedFrame]:
    """The frames after those at the times `done`; `lost` receives the times of damaged frames among them.

    Decoding goes on from the last stored frame; if the file's index leads to another picture, from the beginning.
    """
    options: dict[str, Any] = {"short_side": spec.short_side, "frames_per_second": spec.frames_per_second}
    if len(done):
        late: list[float] = []
        frames = decode(path, start=float(done[-1]), corrupt=late if skip else None, **options)
        again = next(frames, None)
        if again is not None and again.seconds == done[-1] and _jpeg(again.image, spec.quality) == last_jpeg:
            for frame in frames:
                lost += late
                late.clear()
                yield frame
            lost += late
            return
        lost.clear()
    yield from islice(decode(path, corrupt=lost if skip else None, **options), len(done), None)


def _jpeg(image: UInt8[np.ndarray, "h w 3"], quality: int) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _lightness(image: UInt8[np.ndarray, "h w 3"]) -> float:
    """Mean CIE L* of every 4th pixel in both directions. For 8-bit images OpenCV scales L* to 0-255."""
    return float(cv2.cvtColor(np.ascontiguousarray(image[::4, ::4]), cv2.COLOR_RGB2LAB)[..., 0].mean()) * 100 / 255


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    lock = FileLock(path / "build.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _console.print(f"{path}: another process is building this frame store; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _check_disk(path: Path, infos: Sequence[VideoInfo], spec: StoreSpec) -> None:
    size = 0.0
    for info in infos:
        scale = min(1.0, spec.short_side / min(info.width, info.height))
        size += _num_kept(info, spec) * info.width * info.height * scale**2
    needed = size * float(np.interp(spec.quality, QUALITIES, BYTES_PER_PIXEL)) - _bytes_in(path)
    free = shutil.disk_usage(path).free
    if needed > free:
        raise ValueError(
            f"{path}: the frame store may take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
            "free space, or lower short_side, quality or frames_per_second"
        )


def _num_kept(info: VideoInfo, spec: StoreSpec) -> int:
    """About how many frames of a video are kept."""
    if spec.frames_per_second is None:
        return info.num_frames
    return min(info.num_frames, round(info.seconds * spec.frames_per_second) + 1)


def _bytes_in(path: Path) -> int:
    data = path / "data.mdb"
    return data.stat().st_blocks * 512 if data.exists() else 0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.0f} frames/s")


def _bar(progress: bool) -> Progress:
    columns = (TextColumn("frame store"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    return Progress(*columns, console=_console, disable=not progress)

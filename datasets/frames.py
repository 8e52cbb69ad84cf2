"""Turn videos into a frame store: each video is decoded once, in order, and never again.

A build that was killed goes on after its last transaction, and the finished store equals that of an undisturbed build.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from filelock import Timeout
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from longtake.console import Bars
from longtake.console import notes as console
from longtake.datasets.content_hash import content_hash, file_hash
from longtake.datasets.faces import face_blur
from longtake.datasets.frame_store import (
    VERSION,
    FrameStore,
    close_environment,
    open_environment,
    read_info,
    read_json,
    read_records,
)
from longtake.datasets.frame_writer import StoreSpec, VideoWriter
from longtake.datasets.packets import VideoError
from longtake.datasets.store_sums import sum_of_all
from longtake.datasets.video import VideoInfo, probe
from longtake.datasets.video_files import legible
from longtake.files import lock_of

# JPEG bytes per pixel at these qualities: the most demanding of four videos (a juggler before grass) at short side 360.
QUALITIES, BYTES_PER_PIXEL = (75, 90, 95), (0.26, 0.45, 0.64)
# Of how videos are read. The one before 1 had no number: some times and streams were others (`VideoInfo.read_anew`).
READER = 1
LONGEST_STEM = 230  # bytes, of 255 that file systems take: two hashes follow
MAX_MAP = 1 << 40  # bytes of address space


def build(
    sources: Sequence[Path], spec: StoreSpec, root: Path, *, skip_corrupt: bool = False, progress: bool = True
) -> FrameStore:
    """Open the store of these videos under `root`, decoding them first as far as that is not done.

    A second build of the same store waits for the first. Raises `VideoError` for what cannot be decoded (with
    `skip_corrupt`, damaged frames are left out, counted and reported), `ValueError` for a folder that cannot be
    written, too little disk or a store of another version.
    """
    infos = [probe(path, skip_corrupt=skip_corrupt) for path in sources]
    check_decoder(infos, spec)
    path = place_of(root, sources, spec)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path}: cannot write here ({error.strerror}); choose another folder") from error
    with _alone(path):
        found = up_to_date(path, read_info(open_environment(path)) if _bytes_in(path) else None, infos)
        if found is None or not found["complete"]:
            _check_disk(path, infos, spec)
            try:
                _write(path, infos, spec, skip_corrupt, progress)
            except (lmdb.Error, OSError, MemoryError) as error:
                raise ValueError(f"{path}: {_what_helps(error)} and run the same command again") from error
            for line in findings(FrameStore(path)):
                console.print(line, soft_wrap=True)
    return FrameStore(path)


def check_decoder(infos: Sequence[VideoInfo], spec: StoreSpec) -> None:
    """Raise `VideoError` for what only the other decoder makes whole pictures of."""
    for info in infos:
        if spec.decoder != "pyav" and info.interlaced:
            raise VideoError(
                f"{info.path}: interlaced; expected pretrain.decoder=pyav, which makes whole pictures of it"
            )


def findings(store: FrameStore) -> list[str]:
    """Return the build's remarks on each video, where it has any."""
    lines = []
    for video, source in enumerate(store.info["sources"]):
        own = store.video == video
        found = []
        if lost := store.lost[video]:
            found.append(f"{len(lost)} corrupt frames skipped, the first at about {lost[0]:.2f} s")
        if cuts := store.cuts[video]:
            found.append(f"{len(cuts)} cuts, the first at {cuts[0]:.2f} s")
        if blank := store.seconds[own & store.blank].tolist():
            found.append(f"{len(blank)} frames blank or standing still, the first at {blank[0]:.2f} s")
        if store.info["spec"]["faces"] == "blur":
            faces = store.faces[own].sum()
            found.append(f"{faces} faces blurred, {faces * 60 / max(np.ptp(store.seconds[own]), 1e-6):.1f} a minute")
        if found:
            lines.append(f"{source['name']}: {'; '.join(found)}")
    return lines


def store_folder(root: Path, sources: Sequence[Path], spec: StoreSpec) -> Path:
    """Return the folder where `build` puts a store: the first video's name and a hash of the spec and of what is in the files."""
    identity = json.dumps([asdict(spec), [file_hash(path) for path in sources]])
    return root / f"{of_a_folder(sources[0].stem)}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def of_a_folder(stem: str) -> str:
    """A file's name as the beginning of a folder's: no longer than a folder's may be, with `?` for bytes that are no UTF-8."""
    return legible(stem).encode()[:LONGEST_STEM].decode(errors="ignore")


def place_of(root: Path, sources: Sequence[Path], spec: StoreSpec) -> Path:
    """`store_folder`, or a folder beside it where that has the frames of files that differ in what `file_hash` does not see."""
    path = store_folder(root, sources, spec)
    contents = [content_hash(source) for source in sources]
    found = read_info(open_environment(path)) if _bytes_in(path) else None
    stored = contents if found is None else [source.get("content") for source in found["sources"]]
    if all(
        was in (None, is_now) for was, is_now in zip(stored, contents, strict=True)
    ):  # an old store does not know it
        return path
    return path.with_name(f"{path.name}-{hashlib.sha256(json.dumps(contents).encode()).hexdigest()[:8]}")


def up_to_date(path: Path, found: dict[str, Any] | None, infos: Sequence[VideoInfo]) -> dict[str, Any] | None:
    """What a store says of itself; None after it was removed, because today's reader takes other frames of its videos, or times."""
    if found is None or found.get("reader") == READER:
        return found
    lost = read_json(open_environment(path), b"lost") or []
    odd = [info.path.name for info, times in zip(infos, lost, strict=True) if info.read_anew or times]
    if not odd:
        return found
    console.print(
        f"{path}: built when {', '.join(odd)} was read with other times or pictures; it is built anew", soft_wrap=True
    )
    close_environment(path)
    (path / "data.mdb").unlink()
    return None


def _write(path: Path, infos: Sequence[VideoInfo], spec: StoreSpec, skip_corrupt: bool, progress: bool) -> None:
    info = {
        "version": VERSION,
        "reader": READER,
        "spec": asdict(spec),
        "sources": [
            {
                "name": legible(i.path.name),
                "hash": file_hash(i.path),
                "codec": i.codec,
                "width": i.width,
                "height": i.height,
            }
            | {"fps": i.fps, "seconds": i.seconds, "content": content_hash(i.path)}
            for i in infos
        ],
    }
    blur = face_blur() if spec.faces == "blur" else None
    # nobody else is here, we hold the lock: LMDB needs none of its own, which some network file systems do not have
    with lmdb.open(str(path), map_size=_map_size(path), mode=0o666, lock=False) as environment, _bar(progress) as bar:
        with environment.begin(write=True) as transaction:
            transaction.put(b"store", json.dumps(info | {"complete": False}).encode())
            for key in (b"lost", b"cuts"):
                transaction.put(key, json.dumps([[] for _ in infos]).encode(), overwrite=False)
        task = bar.add_task("", total=sum(_num_kept(i, spec) for i in infos), completed=len(read_records(environment)))
        for video, source in enumerate(infos):
            VideoWriter(environment, video, source, spec, blur).write(skip_corrupt, lambda: bar.advance(task))
        with environment.begin(write=True) as transaction:
            transaction.put(b"store", json.dumps(info | {"complete": True}).encode())
            transaction.put(b"seal", sum_of_all(transaction))


def _map_size(path: Path) -> int:
    """The map is address space, of which there may be little (ulimit -v), and a store can never outgrow the disk."""
    size = min(MAX_MAP, shutil.disk_usage(path).free + _bytes_in(path))
    limit = _limit("RLIMIT_AS")
    if limit is None:
        return size
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        used = limit // 2
    return min(size, max(limit - used, 0) // 2)


def _limit(name: str) -> int | None:
    """A limit of this process, in bytes; None where there is none."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(getattr(resource, name))[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _what_helps(error: Exception) -> str:
    """Why nothing more could be written, and what helps."""
    full = isinstance(error, lmdb.MapFullError) and _limit("RLIMIT_AS") is not None
    if full or isinstance(error, lmdb.MemoryError | MemoryError):
        return f"the address space is limited ({error}); what is stored is safe: lift the limit (ulimit -v unlimited)"
    size = _limit("RLIMIT_FSIZE")
    helps = "make room" if size is None else f"make room, lift the limit of {size:,} bytes a file (ulimit -f unlimited)"
    return f"the disk is full or cannot be written ({error}); what is stored is safe: {helps}"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    lock = lock_of(path / "build.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.print(f"{path}: another process is building this frame store; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def bytes_needed(path: Path, infos: Sequence[VideoInfo], spec: StoreSpec) -> float:
    """About how many bytes the frames of these videos still take in the store at `path`."""
    size = 0.0
    for info in infos:
        scale = min(1.0, spec.short_side / min(info.width, info.height))
        size += _num_kept(info, spec) * info.width * info.height * scale**2
    return size * float(np.interp(spec.quality, QUALITIES, BYTES_PER_PIXEL)) - _bytes_in(path)


def _check_disk(path: Path, infos: Sequence[VideoInfo], spec: StoreSpec) -> None:
    needed = bytes_needed(path, infos, spec)
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
    return allocated(data.stat()) if data.exists() else 0


def allocated(status: Any) -> int:
    """Bytes on the disk, of which a file with holes has fewer than its size; Windows does not tell."""
    return status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.0f} frames/s")


def _bar(progress: bool) -> Progress:
    columns = (TextColumn("frame store"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    return Bars(*columns, console=console, disable=not progress)

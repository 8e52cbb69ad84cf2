"""Turn videos into a frame store: each video is decoded once, in order, and never again.

A build that was killed goes on after its last transaction, and the finished store equals that of an undisturbed build.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
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
from longtake.datasets.store_size import bytes_in, check_disk, map_size, num_kept, what_helps
from longtake.datasets.store_sums import sum_of_all
from longtake.datasets.video import VideoInfo, probe
from longtake.datasets.video_files import legible
from longtake.files import lock_of

# Of how videos are read. The one before 1 had no number: some times and streams were others; 1 did not flip what is mirrored
# (`VideoInfo.read_anew`).
READER = 2
LONGEST_STEM = 230  # bytes, of 255 that file systems take: two hashes follow


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
    with nullcontext() if is_finished(path) and not read_otherwise(path, infos) else _alone(path):
        found = up_to_date(path, read_info(open_environment(path)) if bytes_in(path) else None, infos)
        if found is None or not found["complete"]:
            check_disk(path, infos, spec)
            try:
                _write(path, infos, spec, skip_corrupt, progress)
            except (lmdb.Error, OSError, MemoryError) as error:
                raise ValueError(f"{path}: {what_helps(error)} and run the same command again") from error
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
        if spec.decoder != "pyav" and info.mirrored:
            raise VideoError(f"{info.path}: mirrored; expected pretrain.decoder=pyav, which flips its pictures")


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
    found = read_info(open_environment(path)) if bytes_in(path) else None
    stored = contents if found is None else [source.get("content") for source in found["sources"]]
    if all(
        was in (None, is_now) for was, is_now in zip(stored, contents, strict=True)
    ):  # an old store does not know it
        return path
    return path.with_name(f"{path.name}-{hashlib.sha256(json.dumps(contents).encode()).hexdigest()[:8]}")


def read_otherwise(path: Path, infos: Sequence[VideoInfo]) -> list[str]:
    """List the videos of a store of which today's reader takes other frames, or times, than the reader that built it."""
    environment = open_environment(path)
    found = read_info(environment)
    if found is None or found.get("reader") == READER:
        return []
    lost = read_json(environment, b"lost") or [[] for _ in infos]
    return [info.path.name for info, times in zip(infos, lost, strict=True) if info.read_anew or times]


def up_to_date(path: Path, found: dict[str, Any] | None, infos: Sequence[VideoInfo]) -> dict[str, Any] | None:
    """What a store says of itself; None after it was removed, because it was `read_otherwise`."""
    if found is None or not (odd := read_otherwise(path, infos)):
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
    with lmdb.open(str(path), map_size=map_size(path), mode=0o666, lock=False) as environment, _bar(progress) as bar:
        with environment.begin(write=True) as transaction:
            transaction.put(b"store", json.dumps(info | {"complete": False}).encode())
            for key in (b"lost", b"cuts"):
                transaction.put(key, json.dumps([[] for _ in infos]).encode(), overwrite=False)
        task = bar.add_task("", total=sum(num_kept(i, spec) for i in infos), completed=len(read_records(environment)))
        for video, source in enumerate(infos):
            VideoWriter(environment, video, source, spec, blur).write(skip_corrupt, lambda: bar.advance(task))
        with environment.begin(write=True) as transaction:
            transaction.put(b"store", json.dumps(info | {"complete": True}).encode())
            transaction.put(b"seal", sum_of_all(transaction))


def is_finished(path: Path) -> bool:
    """Whether a store is whole, which nobody then writes to: it needs no lock, and may lie where nothing can be written."""
    try:
        found = read_info(open_environment(path)) if bytes_in(path) else None
    except (
        ValueError,
        KeyError,
        lmdb.Error,
    ):  # another process is writing it, or it is damaged: said by those who hold it
        return False
    return found is not None and found["complete"]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path}: cannot write here ({error.strerror}); choose another folder") from error
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


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.0f} frames/s")


def _bar(progress: bool) -> Progress:
    columns = (TextColumn("frame store"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    return Bars(*columns, console=console, disable=not progress)

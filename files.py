"""Files as everybody writes them here: readers see the old file or the new one, never half; one writer at a time where asked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

PATIENCE = 60.0  # seconds to wait for another writer; one upsert takes milliseconds


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, with the same suffix; it becomes `path` when the block ends without an error.

    The folder is made when it is missing. A process that is killed inside the block leaves the old `path` and a hidden file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Holds `path` for this process alone; the lock goes with the process, however it ends.

    Raises:
        filelock.Timeout: another process held it for a minute.
    """
    with FileLock(_scratch(path) / f"{path.name}.lock", timeout=PATIENCE):
        yield


def replace(path: Path, content: bytes) -> None:
    """Writes `content` beside `path` and moves it there in one step; to be called by the `sole_writer`."""
    temporary = _scratch(path) / path.name
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def _scratch(path: Path) -> Path:
    """The hidden folder beside `path` for its lock and its half-written successor; git does not see it."""
    folder = path.parent / ".writing"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    return folder

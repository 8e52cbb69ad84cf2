"""Files as everybody writes them here: readers see the old file or the new one, never half; one writer at a time where asked.

What is there outlives a power cut. What cannot be written or locked is said in one sentence: which file, why, and what helps.
"""

import errno
import os
import re
import socket
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

# Seconds to wait for another writer of whom nobody knows whether it lives; one upsert takes milliseconds.
PATIENCE = 60.0
SAID_AFTER = 5.0  # seconds of waiting for another process in silence
# Of a file system without `flock`; FUSE says the last one.
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
REMEDIES = {
    errno.ENOSPC: "make room there (df -h, df -i)",
    errno.EDQUOT: "make room within your quota (quota -s)",
    errno.EFBIG: "lift the limit on a file's size (ulimit -f unlimited)",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a folder that you may write",
    errno.EPERM: "choose a folder that you may write",
    errno.EIO: "look after the disk (dmesg)",
    errno.ESTALE: "look after the network file system",
    errno.EISDIR: "there is a folder of this name; choose another place",
    errno.ENOTDIR: "a file is in the place of a folder; choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "a symbolic link leads to itself; choose another place",
    errno.ENXIO: "look after the disk (dmesg)",
    errno.ENODEV: "look after the disk (dmesg)",
    errno.ETIMEDOUT: "look after the network file system",
    errno.ENOTCONN: "look after the network file system",
}


class Refused(OSError):
    """A file that the system does not let us write or lock; the message is a sentence for people."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, with the same suffix; it becomes `path` when the block ends without an error.

    The folder is made when it is missing. A process that is killed inside the block leaves the old `path` and a hidden file.
    Raises `Refused` when the system does not let us write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        with _becoming(part, path):
            yield part
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Holds `path` for this process alone; the lock goes with the process, however it ends.

    Raises:
        ValueError: a process of which nobody knows whether it lives held it for a minute.
    """
    with locked(_scratch(path) / f"{path.name}.lock", PATIENCE):
        yield


def replace(path: Path, content: bytes) -> None:
    """Writes `content` beside `path` and moves it there in one step; to be called by the `sole_writer`."""
    temporary = _scratch(path) / path.name
    with _becoming(temporary, path):
        temporary.write_bytes(content)


@contextmanager
def _becoming(part: Path, path: Path) -> Iterator[None]:
    """`part`, which the block writes, becomes `path`. Raises `Refused` when the system does not let us write."""
    try:
        yield
        settle(part)
        os.replace(part, path)
        settle(path.parent)
    except Exception as error:
        refuse_to_write(path, error)
        raise


def succeed(part: Path, path: Path, previous: Path) -> None:
    """`part` becomes `path`, and what was there becomes `previous`; at any moment one of the two is there, whole."""
    settle(part)
    if path.exists():
        os.replace(path, previous)
    os.replace(part, path)
    settle(path.parent)


def check_archive(path: Path) -> None:
    """Raise `RuntimeError`, with what is wrong, unless every byte of a file of `torch.save` is what was written.

    Raises `OSError` where the file cannot be read: it may be as good as ever.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if bad := archive.testzip():
                raise RuntimeError(f"{bad} is not what was written")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise RuntimeError("it names a place in the file that there is not") from error
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError) as error:
        raise RuntimeError(f"cut short at {path.stat().st_size:,} bytes, or never a checkpoint") from error


def settle(path: Path) -> None:
    """Wait until what is in a file, or which files are in a folder, is on the disk: a rename may else outlive what it names."""
    if path.is_dir() and os.name == "nt":
        return  # which cannot do so with folders
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, *NO_LOCKS):  # file systems that cannot be asked
            raise
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Holds the lock file `path` inside the block, waiting for it as long as its holder lives.

    Raises `ValueError` when `timeout` seconds are over (never where negative) and nobody knows whether it does, `Refused` when
    there can be no lock.
    """
    lock = waited_for(path, timeout)
    try:
        yield
    finally:
        lock.release()


def waited_for(path: Path, timeout: float) -> BaseFileLock:
    """The lock, held; whom one waits for is said after some seconds. Raises as `locked` does."""
    lock, since, said = lock_of(path), time.monotonic(), False
    while True:
        try:
            lock.acquire(timeout if 0 <= timeout < SAID_AFTER else SAID_AFTER)
            return lock
        except Timeout as error:
            waited, holder = time.monotonic() - since, holder_of(error.lock_file)
            if 0 <= timeout <= waited and holder in (None, os.getpid()):
                raise ValueError(
                    f"{error.lock_file}: another process has held it for {timeout:.0f} s; wait for that process, or delete the "
                    "file if none is left"
                ) from error
            if not said and waited >= SAID_AFTER:
                who = "another process" if holder is None else f"process {holder}"
                print(f"waiting for {who}, which holds {error.lock_file}", file=sys.stderr, flush=True)
                said = True


def holder_of(lock_file: str) -> int | None:
    """The process of this machine that holds a lock; None where that cannot be known."""
    try:
        status = os.stat(lock_file)
        if lock_file.endswith(".held"):  # written by whoever made it, as filelock does: number, name of the machine
            number, machine, *_ = Path(lock_file).read_text().splitlines()
            return int(number) if machine == socket.gethostname() and Path(f"/proc/{int(number)}").exists() else None
        wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():  # 1: FLOCK  ADVISORY  WRITE 708 08:01:1234 0 EOF
            words = line.split()
            if words[1] == "FLOCK" and words[5] == wanted:
                return int(words[4]) if int(words[4]) > 0 else None
    except (OSError, ValueError, IndexError):
        pass
    return None


def acquired(path: Path, timeout: float) -> BaseFileLock:
    """The lock, held. Raises `Timeout`, and `Refused` when there can be no lock."""
    lock = lock_of(path)
    lock.acquire(timeout)
    return lock


def lock_of(path: Path) -> BaseFileLock:
    """The lock, not held yet. Raises `Refused` when there can be none.

    Where the file system has no `flock`, the existence of a file beside `path` is the lock; one that outlives its process is taken
    over on the same machine alone.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
        lock.release()
    except Timeout:
        return lock
    except OSError as error:
        if error.errno not in NO_LOCKS:
            refuse_to_write(path, error)
            raise Refused(f"{path}: cannot be locked: {error.strerror or error}") from error
        warnings.warn(
            f"{path.parent}: this file system has no locks ({error.strerror}); files take their place", stacklevel=3
        )
        return SoftFileLock(path.with_name(f"{path.name}.held"))  # `path` itself stays and must not look like a lock
    return lock


def refuse_to_write(path: Path, error: BaseException) -> None:
    """Raise `Refused` if that is what `error` means: `path` could not be written."""
    if isinstance(error, OSError) and error.filename and Path(os.fsdecode(error.filename)).parent != path.parent:
        return  # it is about another file
    if reason := unwritten(error):
        raise Refused(f"{path}: cannot be written: {reason}") from error


def unwritten(error: BaseException) -> str | None:
    """What the system said, and what helps, where an error says that something could not be written; None for others."""
    number = error.errno if isinstance(error, OSError) else None
    if found := re.search(r"\(os error (\d+)\)", str(error)):  # safetensors'
        number = int(found[1])
    if number in REMEDIES:
        return f"{os.strerror(number)}; {REMEDIES[number]}"
    if "PytorchStreamWriter" in str(error) or "inline_container.cc" in str(
        error
    ):  # torch.save keeps the number to itself
        return f"the disk is full, or a limit is reached; {REMEDIES[errno.ENOSPC]}"
    return None


def _scratch(path: Path) -> Path:
    """The hidden folder beside `path` for its lock and its half-written successor; git does not see it."""
    folder = path.parent / ".writing"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    return folder

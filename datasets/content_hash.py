"""What is in a file, by a hash of all of it. That of a large file is computed once and remembered while the file stays as it is.

A store is named by `file_hash`, which looks at 12 MiB: up to that size it sees every byte. Of larger files, `content_hash` reads
the rest, a second a gigabyte or what the disk gives, a minute or more for 40 GB: little beside decoding them.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from longtake.console import notes
from longtake.datasets.roots import data_root
from longtake.files import whole

HASHED_PART = 1 << 22  # bytes
SAID_FROM = 1 << 30  # bytes: reading more takes a second, and is said
SETTLED_SECONDS = 10  # a file changed more recently may change again within one tick of a coarse clock


def file_hash(path: Path) -> str:
    """SHA-256 of the size and, to be quick with huge files, of 4 MiB each at the beginning, the middle and the end."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for offset in sorted({0, max(0, (size - HASHED_PART) // 2), max(0, size - HASHED_PART)}):
            file.seek(offset)
            digest.update(file.read(HASHED_PART))
    return digest.hexdigest()


def content_hash(path: Path) -> str:
    """SHA-256 of every byte: `file_hash` where that has seen them all, else of the whole file."""
    return _of_large(path) if path.stat().st_size > 3 * HASHED_PART else file_hash(path)


def _of_large(path: Path) -> str:
    """Remembered under the data root for a path, size and times of change: whoever writes to a file moves one of these."""
    status = path.stat()
    name = str(path.resolve())
    stamp = [name, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    kept = data_root() / "hashes" / f"{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:16]}.json"
    known = _remembered(kept)
    if known is not None and known[0] == stamp:
        return str(known[1])
    if status.st_size >= SAID_FROM:
        notes.print(
            f"{path}: reading all {status.st_size / 1e9:.1f} GB once, to know it from other files", soft_wrap=True
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if max(status.st_mtime, status.st_ctime) < time.time() - SETTLED_SECONDS:
        _write_down(kept, [stamp, found])
    return found


def _remembered(kept: Path) -> Sequence | None:
    try:
        known = json.loads(kept.read_text())
    except (OSError, ValueError):  # not there, or damaged: read the file again
        return None
    return known if isinstance(known, list) and len(known) == 2 else None


def _write_down(kept: Path, known: list) -> None:
    try:
        with whole(kept) as part:
            part.write_text(json.dumps(known))
    except OSError as error:  # a read-only data root costs time at the next start, nothing else
        warnings.warn(f"the hash of {known[0][0]} could not be kept: {error}", stacklevel=2)

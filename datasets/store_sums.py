"""Check sums of a frame store: what the disk gives back is what was written, or is refused.

LMDB keeps none. Every frame has its length and CRC-32 (`sums` + number of the block's first frame), which are looked at when it is
read; everything else is under one CRC-32 (`seal`), looked at when the store is opened. A store that was built before there were
sums has none and is read as it is.
"""

import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
from jaxtyping import UInt8

SUM = np.dtype([("bytes", "<u4"), ("crc", "<u4")])
# Reads all keys and values; where a page is not in the file any more, the system ends the process.
WALK = """
import sys, zlib, lmdb
with lmdb.open(sys.argv[1], readonly=True, lock=False) as environment, environment.begin(buffers=True) as transaction:
    for _, value in transaction.cursor():
        zlib.crc32(value)
"""


def damaged(path: Path, what: str) -> ValueError:
    return ValueError(f"{path}: {what} is damaged; look after the disk, and delete the folder to rebuild the store")


@contextmanager
def damage_named(path: Path, what: str) -> Iterator[None]:
    """What LMDB says of a broken file becomes a `ValueError` that names the store."""
    try:
        yield
    except lmdb.Error as error:
        raise damaged(path, f"{what} ({error})") from error


def numbered(transaction: lmdb.Transaction, kind: bytes) -> Iterator[tuple[bytes, Any]]:
    """Keys that begin with `kind`, and their values, in order."""
    cursor = transaction.cursor()
    cursor.set_range(kind)
    for key, value in cursor:
        name = bytes(key)
        if not name.startswith(kind):
            return
        yield name, value


def sums_of(jpegs: Sequence[bytes]) -> bytes:
    """The sums of a block's frames."""
    return np.array([(len(jpeg), zlib.crc32(jpeg)) for jpeg in jpegs], SUM).tobytes()


def read_sums(environment: lmdb.Environment, num_frames: int) -> np.ndarray:
    """Sums of all frames, zeros for those that have none."""
    sums = np.zeros(num_frames, SUM)
    with environment.begin() as transaction:
        cursor = transaction.cursor()
        cursor.set_range(b"sums")
        for key, value in cursor:
            if not key.startswith(b"sums"):
                break
            first, block = int.from_bytes(key[4:], "big"), np.frombuffer(value, SUM)
            sums[first : first + len(block)] = block
    return sums


def intact(path: Path, index: int, jpeg: memoryview | bytes | None, known: np.void) -> UInt8[np.ndarray, "h w 3"]:
    """A stored frame in RGB. Raises `ValueError` where it is not what was written; its length is compared before it is touched."""
    if jpeg is None or (known["bytes"] and (len(jpeg) != known["bytes"] or zlib.crc32(jpeg) != known["crc"])):
        raise damaged(path, f"frame {index}")
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise damaged(path, f"frame {index}")
    return image


def sum_of_all(transaction: lmdb.Transaction) -> bytes:
    """One sum of everything but the frames themselves."""
    crc = 0
    for key in (b"store", b"lost", b"cuts"):
        crc = zlib.crc32(bytes(transaction.get(key) or b""), crc)
    for kind in (b"block", b"sums"):
        for name, value in numbered(transaction, kind):
            crc = zlib.crc32(value, zlib.crc32(name, crc))
    return crc.to_bytes(4, "big")


def check_seal(path: Path, environment: lmdb.Environment) -> None:
    """Raise `ValueError` for a finished store of which something but its frames is not what was written."""
    with damage_named(path, "its list of frames"), environment.begin() as transaction:
        seal = transaction.get(b"seal")
        if seal is not None and bytes(seal) != sum_of_all(transaction):
            raise damaged(path, "its list of frames")


def check_whole(path: Path, environment: lmdb.Environment) -> None:
    """Raise `ValueError` for a store whose end is missing: to touch it there would end the process (SIGBUS)."""
    expected = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    size = (path / "data.mdb").stat().st_size
    if size < expected and not _can_be_read(path):  # a page that nothing uses need not be there
        raise ValueError(
            f"{path}: cannot read the frame store (it is cut short: {size:,} of {expected:,} bytes); delete the folder to "
            "rebuild it"
        )


def _can_be_read(path: Path) -> bool:
    return subprocess.run([sys.executable, "-c", WALK, str(path)], capture_output=True).returncode == 0

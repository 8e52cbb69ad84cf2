"""Tell data by what is in them, not by what they are called: two folders `images`, two videos `VID_0001.mp4`.

A content hash covers the files' names, their sizes and every byte of small data, of larger ones a sample; of annotations and masks
every byte. A procedural world needs none: its parameters say what it is (mini/worlds.py).
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from longtake.datasets.mini.worlds import WORLDS

WHOLE = 1 << 28  # bytes: data that are smaller are read whole, a third of a second or so
OPENED = 1000  # files of larger data whose bytes are read, spread evenly over the names
# Files whose sizes are asked for; of more, those of the sample: a million take a network disk minutes.
MEASURED = 200_000
PART = 4096  # bytes at the beginning, the middle and the end of a file of the sample
PLACES = 96  # of one video that are read; of several, fewer of each
SHOWN = 8  # hex digits
NOT_IN_NAMES = re.compile(r"[^\w.+-]+")  # a name is one word of a protocol


class Content(NamedTuple):
    """What an evaluation learns from and is tested on, or a training."""

    name: str  # for people: the folder's, or a set's where it is one that is published
    counts: Mapping[str, int]  # items by the part that they are of
    digest: str  # hex digits; "" of a procedural world
    original: bool  # a procedural world, or as many items as the published set of this name has, called as they are

    @property
    def title(self) -> str:
        """One word: `birds@3f2a1c04`."""
        return f"{self.name}@{self.digest}" if self.digest else self.name

    def __str__(self) -> str:
        """The title and how many items there are: `birds@3f2a1c04: train 1,200, val 100`."""
        counts = ", ".join(f"{part} {count:,}" for part, count in self.counts.items())
        return f"{self.title}: {counts}" if counts else self.title


def content_of(
    root: Path,
    counts: Mapping[str, int],
    samples: Sequence[str | Path],
    annotations: Iterable[str | Path] = (),
    original: str | None = None,
) -> Content:
    """The content of a folder: of the files `samples` a sample of the bytes counts, of `annotations` every byte.

    `original` is the name of the published set that has as many items; None where none has. Raises `OSError` for files that are
    not there.
    """
    name = NOT_IN_NAMES.sub("-", os.fsencode(original or root.resolve().name).decode("utf-8", "replace"))
    return Content(name or "data", dict(counts), digest_of(root, samples, annotations), original is not None)


def content_of_world(name: str) -> Content:
    return Content(name, {}, "", True)


def content_of_folder(root: object) -> Content | None:
    """Content of whatever is in a folder, at any depth, or of a world; None where `root` is neither."""
    if isinstance(root, str) and root in WORLDS:
        return content_of_world(root)
    if not isinstance(root, str | Path) or not (folder := Path(root).expanduser()).is_dir():
        return None
    files = [Path(place) / name for place, _, names in os.walk(folder) for name in names if not name.startswith(".")]
    return content_of(folder, {"files": len(files)}, files)


def digest_of(root: Path, samples: Sequence[str | Path], annotations: Iterable[str | Path] = ()) -> str:
    """The hash of these files by their names below `root`."""
    digest = hashlib.sha256()
    paths = sorted({os.fspath(path) for path in samples})
    opened = set(np.unique(np.linspace(0, len(paths) - 1, OPENED).astype(int)).tolist()) if paths else set()
    sizes = {i: os.path.getsize(path) for i, path in enumerate(paths) if i in opened or len(paths) <= MEASURED}
    small = len(sizes) == len(paths) and sum(sizes.values()) <= WHOLE
    for i, path in enumerate(paths):
        digest.update(_named(path, root) + (b"%d\0" % sizes[i] if i in sizes else b""))
        if small or i in opened:
            digest.update(_all_of(path) if small else _sampled(path))
    for path in sorted({os.fspath(path) for path in annotations}):
        digest.update(_named(path, root) + _all_of(path))
    return digest.hexdigest()[:SHOWN]


def _named(path: str, root: Path) -> bytes:
    return os.fsencode(os.path.relpath(path, root)) + b"\0"


def _all_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def digest_of_files(paths: Sequence[Path]) -> str:
    """The hash of files in their order, whatever they are called."""
    digest, sizes = hashlib.sha256(), [path.stat().st_size for path in paths]
    digest.update(b"".join(b"%d\0" % size for size in sizes))
    if sum(sizes) <= WHOLE:
        parts = [_all_of(os.fspath(path)) for path in paths]
    else:
        chosen = np.unique(np.linspace(0, len(paths) - 1, OPENED).astype(int)).tolist()
        parts = [_sampled(os.fspath(paths[i]), max(3, PLACES // len(paths))) for i in chosen]
    digest.update(b"".join(parts))
    return digest.hexdigest()[:SHOWN]


def _sampled(path: str, places: int = 3) -> bytes:
    """Bytes at so many places of a file, from its beginning to its end."""
    with open(path, "rb") as file:
        last = max(0, file.seek(0, os.SEEK_END) - PART)
        found = []
        for offset in sorted({last * i // (places - 1) for i in range(places)}):
            file.seek(offset)
            found.append(file.read(PART))
    return b"".join(found)


def as_published(
    counts: Mapping[str, int], published: Mapping[str, Mapping[str, int]], names: Iterable[str] = (), like: str = ".*"
) -> str | None:
    """The name of the published set that has as many items of every part, called as its are; None where none has."""
    found = next((name for name, of in published.items() if all(of.get(part) == n for part, n in counts.items())), None)
    named = re.compile(like)
    return found if found is not None and all(named.fullmatch(name) for name in names) else None

"""The frame store: frames of videos as JPEG files in one LMDB environment, read in any order by many processes.

Frames are numbered through all videos of a store; each has its time, video, shot and what was measured in it.
`frames.build` writes.

Keys: `store` (JSON: version, spec, sources, complete), `lost` and `cuts` (JSON: per video, the times of skipped corrupt frames and
of the first frames of shots), `block` + number of its first frame (array of `FRAME`), `jpeg` + number of the frame, and check sums
(`store_sums`); numbers are 8 bytes, big-endian. While it is built there is `tail`, too, what `shots.CutFinder` has to remember.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb
import numpy as np
import torch
from jaxtyping import Bool, Float64, Int, Int32, UInt8
from rich.table import Table
from torch import Tensor

from longtake.datasets.shots import blanks, shots
from longtake.datasets.store_sums import check_seal, check_whole, damage_named, damaged, intact, numbered, read_sums

VERSION = 2
# One frame's record. The lightness is that of the paper's Figure 2a.
MEASURED = ("lightness", "contrast", "change")
FRAME = np.dtype([("seconds", "<f8"), ("video", "<i4"), *((name, "<f4") for name in MEASURED), ("faces", "<i4")])

# An environment can be open only once per process, however many stores look into it.
_environments: WeakValueDictionary[Path, lmdb.Environment] = WeakValueDictionary()


class FrameStore:
    """A finished store, read-only. Cheap to pickle; after a fork the child reads through the parent's memory map.

    Attributes (arrays over the n frames of all videos):
        info: version, spec (`StoreSpec`), sources (per video: name, hash, codec, width, height, fps, seconds).
        lost: per video, the times in seconds of the corrupt frames that were skipped.
        cuts: per video, the times of the frames that begin a new shot.
        seconds: time of each frame after the start of its video.
        video: which source a frame comes from; it does not decrease.
        shot: which shot of its video a frame belongs to; 0 everywhere when cuts were not looked for.
        lightness, contrast: mean and standard deviation of CIE L*, 0 (black) to 100 (white).
        change: mean difference of L* from the frame before it in the store; NaN for the first of a video.
        faces: how many were blurred.
        blank: it shows nothing or stands still (`shots.blanks`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._environment = open_environment(path)
        info = read_info(self._environment)
        if info is None or not info["complete"]:
            raise ValueError(f"{path}: the frame store is unfinished; run the same command again to go on")
        self.info: dict[str, Any] = info
        self.lost: list[list[float]] = read_json(self._environment, b"lost")
        records = read_records(self._environment)
        self._sums = read_sums(self._environment, len(records))
        self.seconds: Float64[np.ndarray, "n"] = np.ascontiguousarray(records["seconds"])
        self.video: Int32[np.ndarray, "n"] = np.ascontiguousarray(records["video"])
        self.faces: Int32[np.ndarray, "n"] = np.ascontiguousarray(records["faces"])
        self.lightness, self.contrast, self.change = (np.ascontiguousarray(records[name]) for name in MEASURED)
        self.cuts: list[list[float]] = read_json(self._environment, b"cuts")
        self.shot: Int32[np.ndarray, "n"] = shots(self.seconds, self.video, self.cuts)
        self.blank: Bool[np.ndarray, "n"] = blanks(self.seconds, self.contrast, self.change)

    def __reduce__(self) -> tuple[type["FrameStore"], tuple[Path]]:
        return FrameStore, (self.path,)

    def __len__(self) -> int:
        return len(self.seconds)

    def read(self, indices: Sequence[int] | Int[np.ndarray, "t"]) -> UInt8[Tensor, "t 3 h w"]:
        """RGB frames of one video, in the given order; in memory the channels come last. Raises `ValueError` for a damaged one."""
        images = []
        with damage_named(self.path, "a frame"), self._environment.begin(buffers=True) as transaction:
            for index in map(int, indices):
                if not 0 <= index < len(self):
                    raise IndexError(f"{self.path}: frame {index} of {len(self)}")
                jpeg = transaction.get(key_of(b"jpeg", index))
                images.append(intact(self.path, index, jpeg, self._sums[index]))
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)

    @property
    def names(self) -> list[str]:
        return [source["name"] for source in self.info["sources"]]

    def summary(self) -> Table:
        """One row per video: stored frames, duration, shots, share of blank frames, mean lightness."""
        table = Table(title=f"{self.path}", title_justify="left", box=None)
        for column in ("video", "frames", "minutes", "shots", "blank", "L*"):
            table.add_column(column, justify="left" if column == "video" else "right")
        for video in np.unique(self.video).tolist():  # one of which nothing was kept has no row
            own, name = self.video == video, self.names[video]
            minutes = (self.seconds[own].max() - self.seconds[own].min()) / 60
            shots, blank, light = len(self.cuts[video]) + 1, 100 * self.blank[own].mean(), self.lightness[own].mean()
            table.add_row(name, f"{own.sum():,}", f"{minutes:.1f}", f"{shots}", f"{blank:.0f} %", f"{light:.0f}")
        return table

    def content_hash(self) -> str:
        """SHA-256 of all keys and values: equal for equal stores, in however many attempts they were built."""
        digest = hashlib.sha256()
        with self._environment.begin(buffers=True) as transaction:
            for key, value in transaction.cursor():
                digest.update(key)
                digest.update(value)
        return digest.hexdigest()


def key_of(kind: bytes, index: int) -> bytes:
    return kind + index.to_bytes(8, "big")


def open_environment(path: Path) -> lmdb.Environment:
    """Read-only and without LMDB's lock file, as nobody writes to a finished store; hence a fork may inherit it.

    Raises `ValueError` for a store that is not there, cannot be read or is not what was written.
    """
    if not (path / "data.mdb").exists():
        raise ValueError(f"{path}: no frame store here")
    resolved = path.resolve()
    environment = _environments.get(resolved)
    if environment is None:
        try:
            environment = lmdb.open(str(path), readonly=True, lock=False, readahead=False)
        except lmdb.MemoryError as error:
            raise ValueError(
                f"{path}: the address space is limited ({error}); lift the limit (ulimit -v unlimited) and run the same command "
                "again"
            ) from error
        except lmdb.Error as error:
            raise ValueError(
                f"{path}: cannot read the frame store ({error}); delete the folder to rebuild it"
            ) from error
        check_whole(path, environment)
        check_seal(path, environment)
        _environments[resolved] = environment
    return environment


def close_environment(path: Path) -> None:
    """Before the file goes: whoever still looks into it here sees nothing more."""
    environment = _environments.pop(path.resolve(), None)
    if environment is not None:
        environment.close()


def read_json(environment: lmdb.Environment, key: bytes) -> Any:
    """None where there is no such key."""
    with environment.begin() as transaction:
        value = transaction.get(key)
    return None if value is None else parsed(environment, value)


def parsed(environment: lmdb.Environment, value: bytes) -> Any:
    """Raise `ValueError` for what is no JSON, of a store without a seal."""
    try:
        return json.loads(value)
    except ValueError as error:
        raise damaged(Path(environment.path()), "what it says of itself") from error


def read_info(environment: lmdb.Environment) -> dict[str, Any] | None:
    """Read what a store says of itself; None before anything is written. Raises `ValueError` for another version's store."""
    info = read_json(environment, b"store")
    if info is not None and info["version"] != VERSION:
        raise ValueError(
            f"{environment.path()}: frame store of version {info['version']}, expected {VERSION}; "
            "delete the folder to rebuild it"
        )
    return info


def read_records(environment: lmdb.Environment) -> np.ndarray:
    """Records of all frames so far."""
    with environment.begin() as transaction:
        records = [np.frombuffer(value, FRAME) for _, value in numbered(transaction, b"block")]
    return np.concatenate(records) if records else np.zeros(0, FRAME)

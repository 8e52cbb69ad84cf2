"""How large a frame store becomes, whether there is room for it, and what helps where there is none."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from longtake.datasets.frame_writer import StoreSpec
from longtake.datasets.video import VideoInfo

# JPEG bytes per pixel at these qualities: the most demanding of four videos (a juggler before grass) at short side 360.
QUALITIES, BYTES_PER_PIXEL = (75, 90, 95), (0.26, 0.45, 0.64)
MAX_MAP = 1 << 40  # bytes of address space


def map_size(path: Path) -> int:
    """The map is address space, of which there may be little (ulimit -v), and a store can never outgrow the disk."""
    size = min(MAX_MAP, shutil.disk_usage(path).free + bytes_in(path))
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


def bytes_needed(path: Path, infos: Sequence[VideoInfo], spec: StoreSpec) -> float:
    """About how many bytes the frames of these videos still take in the store at `path`."""
    size = 0.0
    for info in infos:
        scale = min(1.0, spec.short_side / min(info.width, info.height))
        size += num_kept(info, spec) * info.width * info.height * scale**2
    return size * float(np.interp(spec.quality, QUALITIES, BYTES_PER_PIXEL)) - bytes_in(path)


def check_disk(path: Path, infos: Sequence[VideoInfo], spec: StoreSpec) -> None:
    needed = bytes_needed(path, infos, spec)
    free = shutil.disk_usage(path).free
    if needed > free:
        raise ValueError(
            f"{path}: the frame store may take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
            "free space, or lower short_side, quality or frames_per_second"
        )


def num_kept(info: VideoInfo, spec: StoreSpec) -> int:
    """About how many frames of a video are kept."""
    if spec.frames_per_second is None:
        return info.num_frames
    return min(info.num_frames, round(info.seconds * spec.frames_per_second) + 1)


def bytes_in(path: Path) -> int:
    data = path / "data.mdb"
    return allocated(data.stat()) if data.exists() else 0


def allocated(status: Any) -> int:
    """Bytes on the disk, of which a file with holes has fewer than its size; Windows does not tell."""
    return status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size


def what_helps(error: Exception) -> str:
    """Why nothing more could be written, and what helps."""
    full = isinstance(error, lmdb.MapFullError) and _limit("RLIMIT_AS") is not None
    if full or isinstance(error, lmdb.MemoryError | MemoryError):
        return f"the address space is limited ({error}); what is stored is safe: lift the limit (ulimit -v unlimited)"
    size = _limit("RLIMIT_FSIZE")
    helps = "make room" if size is None else f"make room, lift the limit of {size:,} bytes a file (ulimit -f unlimited)"
    return f"the disk is full or cannot be written ({error}); what is stored is safe: {helps}"

"""The processes that read and augment: whether there is room for what they hand over, and what to say when one has died.

Batches come from them through shared memory. A container has 64 MB of it unless it is told otherwise, and a batch for which there
is no room is lost: the training would wait for it for ever.
"""

import multiprocessing.queues
import os
import re
import signal
import sys
import traceback
from functools import cache
from pathlib import Path

import torch
from rich.filesize import decimal
from torch.utils.data import get_worker_info

from longtake.datasets.views import MultiCrop
from longtake.downstream.base import Downstream
from longtake.engine.identity import Config

SHARED = Path("/dev/shm")
AHEAD = 2  # batches that each worker has ready: the default of PyTorch's loader, which no loader here changes
FLOAT, PAGE = 4, 4096  # bytes
DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal: ([^.]+)|exited unexpectedly)")


def check_room(config: Config, views: MultiCrop, num_steps: int, frame: torch.Size | None = None) -> None:
    """Raise `ValueError` when the batches of a training that are on their way do not fit into the shared memory.

    `frame` is the shape of one stored frame, for views that are made late, which come as frames.
    """
    _check("training", batch_bytes(config, views, frame), config["num_workers"], num_steps, "num_workers")


def batch_bytes(config: Config, views: MultiCrop, frame: torch.Size | None = None) -> int:
    """What the workers of a machine hand over for one step, for all its processes together."""
    batch = config["batch_size"] // config["trainer"]["num_nodes"]
    clips = batch * config["method"]["num_frames"]
    if frame is None:
        crops = [crop for crop in (*views.globals, *views.locals) for _ in range(crop.num)]
        size = sum(pages(clips * 3 * crop.size**2 * FLOAT) for crop in crops)
    else:
        size = batch * pages(config["method"]["num_frames"] * frame.numel())
    return size + PAGE  # and the clips' numbers


def pages(size: int) -> int:
    """The bytes that so many take: memory is given in whole pages."""
    return -(-size // PAGE) * PAGE


def check_room_of(name: str, task: Downstream) -> None:
    """Raise `ValueError` when the batches of square pictures that an evaluation reads do not fit into the shared memory.

    Evaluations that read whole pictures, one or a few at a time, need little of it.
    """
    size, batch, workers = (getattr(task, field, None) for field in ("size", "batch_size", "num_workers"))
    if isinstance(size, int) and isinstance(batch, int) and isinstance(workers, int):
        _check(f"eval.{name}", pages(batch * 3 * size**2 * FLOAT), workers, sys.maxsize, f"eval.{name}.num_workers")


def _check(what: str, batch: int, workers: int, num_steps: int, key: str) -> None:
    def needed(count: int) -> int:
        """Bytes on their way: what the workers have ready, what is used now, and their queues' locks."""
        return batch * min(AHEAD * count + 1, num_steps) + PAGE * (10 + 4 * count) if count else 0

    free = free_bytes()
    if free is None or needed(workers) <= free:
        return
    fitting = next(count for count in range(workers, -1, -1) if needed(count) <= free)
    raise ValueError(
        f"{what}: {workers} data worker(s) hand over up to {decimal(needed(workers))} at a time, and the shared memory ({SHARED}) "
        f"has {decimal(free)} free; give more of it (docker run --shm-size={1 + needed(workers) // 10**9}g ..., or --ipc=host), "
        f"or {key}={fitting}{' (or 0)' if fitting else ''}"
    )


def free_bytes() -> int | None:
    """Free shared memory; None where there is no telling, or no limit."""
    try:
        room = os.statvfs(SHARED)
    except (OSError, AttributeError):  # another system
        return None
    return room.f_bavail * room.f_frsize if room.f_blocks else None


@cache
def end_with_lost_batches() -> None:
    """From now on a worker that cannot hand over a batch ends, and the loader notices; else both would wait for ever."""
    plain = multiprocessing.queues.Queue._on_queue_feeder_error  # type: ignore[attr-defined]

    def lost(error: Exception, item: object) -> None:
        if get_worker_info() is None:
            plain(error, item)
            return
        print(f"a data worker cannot hand over its batch: {error}", file=sys.stderr, flush=True)
        os._exit(1)

    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(lost)  # type: ignore[attr-defined]


def death(error: BaseException) -> str | None:
    """What to say of a data worker that has died, if that is what the loader's error means."""
    found = DIED.search(str(error))
    if found is None and not _hung_up(error):
        return None
    by = found[1].strip() if found and found[1] else _signal_behind(error)
    how = f"was killed ({by})" if by else "has ended"
    return (
        f"a data worker {how}: most often there is too little memory, or shared memory ({SHARED}; docker run --shm-size=...); "
        "fewer num_workers need less"
    )


def _signal_behind(error: BaseException) -> str | None:
    """Which signal has ended a worker of the loader that raised; PyTorch does not say it where it was not the first to notice."""
    loaders = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    codes = [worker.exitcode or 0 for loader in loaders for worker in getattr(loader, "_workers", ())]
    killed = [-code for code in codes if code < 0]
    killed.sort(key=lambda number: number == signal.SIGTERM)  # by which the loader ends the rest
    return signal.strsignal(killed[0]) if killed else None


def _hung_up(error: BaseException) -> bool:
    """Whether a worker was gone when its batch, which it had announced, was to be fetched from it."""
    frames = traceback.walk_tb(error.__traceback__)
    gone = isinstance(error, EOFError | ConnectionError | FileNotFoundError)
    return gone and any(frame.f_code.co_name == "rebuild_storage_fd" for frame, _ in frames)

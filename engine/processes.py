"""What the processes of one run do together before they compute: meet, agree on what went wrong, take turns."""

import atexit
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from longtake.engine.devices import is_gpu
from longtake.engine.launch import launched
from longtake.parallel import collected, is_first, leave, world_size

WAITING = timedelta(minutes=5)  # for all processes to come; a cluster starts them within seconds of one another
SIGHT = 60.0  # seconds until a file that another machine has written is seen here

T = TypeVar("T")


def join(device: str) -> None:
    """Meet the processes that were started together with this one. Raises `ValueError` when they do not come."""
    found = launched()
    if found is None or world_size() > 1:
        return
    cuda = is_gpu(device)
    if cuda:
        torch.cuda.set_device(found.local_rank)
    try:
        store, rank, size = next(dist.rendezvous("env://", found.rank, found.size, timeout=WAITING))
        ours = dist.PrefixStore("longtake", store)
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", store=ours, rank=rank, world_size=size)
    except dist.DistError as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise ValueError(
            f"{found.by} says that there are {found.size} processes, but they cannot meet at {where} ({_first_line(error)}): start "
            "all of them (srun run ...), or ask for one task; MASTER_PORT names another port"
        ) from error
    leave_at_exit()


def leave_at_exit() -> None:
    """Have this process part from the others in order: threads of gloo may abort when the interpreter ends with them."""
    atexit.unregister(leave)
    atexit.register(leave)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def together(work: Callable[[], T]) -> T:
    """The result of `work`, done by all processes at once. Raises `ValueError` in all of them where it does in one."""
    result, problem = None, None
    try:
        result = work()
    except ValueError as error:
        problem = error
    said = [text for text in collected([None if problem is None else str(problem)]) if text is not None]
    if said:
        raise ValueError(said[0]) from problem
    return result  # type: ignore[return-value]


def in_turn(work: Callable[[], T]) -> T:
    """The result of `work`, done by the first process, then by the others, which find there what the first one has made."""
    first = together(lambda: work() if is_first() else None)
    rest = together(lambda: None if is_first() else work())
    return first if is_first() else rest  # type: ignore[return-value]


def machines() -> tuple[int, int]:
    """Return the number of processes on each machine, and of machines. Raises `ValueError` where the machines differ."""
    firsts = collected([os.environ.get("LOCAL_RANK", "0") == "0"])
    if len(firsts) % sum(firsts):
        raise ValueError(f"{len(firsts)} processes on {sum(firsts)} machines: expected equally many on each")
    return len(firsts) // sum(firsts), sum(firsts)


def shared(folder: Path) -> None:
    """Raise `ValueError` unless all processes see `folder`, which the first one has made."""
    if not all(collected([in_sight(folder)])):
        raise ValueError(
            f"output={folder.parent}: the machines of this run do not share it; choose a folder that all see with output=FOLDER"
        )


def in_sight(path: Path) -> bool:
    """Whether a file or folder that another process has made is there; network file systems take their time to show it."""
    until = time.monotonic() + (SIGHT if world_size() > 1 else 0)
    while not path.exists() and time.monotonic() < until:
        os.listdir(path.parent)  # makes NFS ask again
        time.sleep(1)
    return path.exists()

"""Two gloo processes for the tests (a module of its own, with few imports, for a spawned process to import)."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from started import PATIENCE

RANKS = 2


def process(rank: int, folder: str, work: Callable[[int], object]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS, timeout=timedelta(seconds=PATIENCE)
    )
    torch.save(work(rank), f"{folder}/{rank}.pt")
    dist.barrier()  # nobody leaves while another still speaks to it
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads, of groups that a cache still holds, abort now and then when the interpreter ends


def on_two_processes(work: Callable[[int], object], folder: Path) -> list:
    """What `work` answers in each of them, given its rank."""
    mp.spawn(process, (str(folder), work), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]

"""Everything that crosses processes: how many there are, items shared between them, sums and means for losses.

One process alone has all the work, and every function is then the identity; nothing here needs to know how processes were
started. What every process computes from the same features is the same, so that only the first one writes.
"""

import os
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributed.nn.functional import all_gather, all_reduce

# How long processes wait for one that evaluates alone (the backend's own limit is meant for steps of training).
PATIENCE = timedelta(days=1)
ROWS_AT_ONCE = 2**16  # summed over the processes together: 100 MB of features of width 384

Item = TypeVar("Item")


def join() -> None:
    """Meet the processes that `torchrun` started beside this one, unless that has been done (by a training)."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and dist.is_available() and not dist.is_initialized():
        dist.init_process_group("gloo", timeout=PATIENCE)
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


def world_size() -> int:
    """Return the number of processes that work together; 1 for a process alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_first() -> bool:
    """Whether this process is the one that writes and reports."""
    return rank() == 0


def part_of(items: Sequence[Item] | Tensor) -> Any:
    """This process's share: every n-th one (of a tensor a view of those rows)."""
    return items if world_size() == 1 else items[rank() :: world_size()]


def summed(rows: Shaped[Tensor, "n *row"]) -> Shaped[Tensor, "n *row"]:
    """Row by row the one that its process has computed, where the others have zeros. Changes its argument."""
    if world_size() > 1:
        for chunk in rows.split(ROWS_AT_ONCE):
            on_cpu = chunk.cpu()
            dist.all_reduce(on_cpu, group=_group(dist.group.WORLD))
            chunk.copy_(on_cpu)
    return rows


def add_up(tensors: Sequence[Tensor]) -> None:
    """Each tensor becomes its sum over the processes, all of which have the same ones in the same order; in place."""
    if world_size() > 1:
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat, group=None if flat.is_cuda else _group(dist.group.WORLD))
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))


def collected(values: list[Any]) -> list[Any]:
    """The values of all processes."""
    if world_size() == 1:
        return values
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, values, group=_group(dist.group.WORLD))
    return [value for part in parts for value in part]


def agreed(value: Any) -> Any:
    """The first process's value."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, group=_group(dist.group.WORLD))
    return box[0]


@lru_cache(maxsize=1)
def _group(_world: object) -> dist.ProcessGroup:
    """A group of all processes on the CPU; a new one whenever the processes have met anew."""
    return dist.new_group(backend="gloo", timeout=PATIENCE)


def leave() -> None:
    """Part from the other processes, where there are any."""
    _group.cache_clear()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def mean_over_ranks(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The mean of `x` over all processes, without gradient (every rank holds the same shape)."""
    x = x.detach()
    if world_size() > 1:
        x = x.clone()
        dist.all_reduce(x)
        x = x / world_size()
    return x


def true_everywhere(flag: bool, device: torch.device) -> bool:
    """Whether `flag` holds on all processes: decisions about a step must be the same everywhere."""
    if world_size() > 1:
        flags = torch.tensor(int(flag), device=device)
        dist.all_reduce(flags, op=dist.ReduceOp.MIN)
        flag = bool(flags.item())
    return flag


def sum_over_ranks(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The sum of `x` over all processes, with gradient: each process's input moves every process's output."""
    return all_reduce(x) if world_size() > 1 else x


def gather(x: Float[Tensor, "b d"]) -> Float[Tensor, "n d"]:
    """The rows of all processes in the order of their ranks, with gradient: n = b * ranks.

    Together with DDP's mean over ranks, a loss over gathered rows has the gradient of the single process that sees them all.
    """
    return torch.cat(all_gather(x.contiguous())) if world_size() > 1 else x

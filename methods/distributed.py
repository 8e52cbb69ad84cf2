"""The little that must cross processes; with one process every function is the identity."""

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor
from torch.distributed.nn.functional import all_gather, all_reduce


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if world_size() > 1 else 0


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

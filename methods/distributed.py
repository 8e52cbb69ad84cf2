"""The little that must cross processes; with one process every function is the identity."""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


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


class _SumOverRanks(torch.autograd.Function):
    """Sum over processes. Each process's input moves every process's output, hence the gradient is summed as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone()
        dist.all_reduce(grad)
        return grad


def sum_over_ranks(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The sum of `x` over all processes, with gradient."""
    return _SumOverRanks.apply(x) if world_size() > 1 else x


def gather(x: Float[Tensor, "b d"]) -> Float[Tensor, "n d"]:
    """The rows of all processes in the order of their ranks, with gradient: n = b * ranks.

    Together with DDP's mean over ranks, a loss over gathered rows has the gradient of the single process that sees them all.
    """
    if world_size() == 1:
        return x
    rows = torch.zeros(world_size(), *x.shape, dtype=x.dtype, device=x.device)
    return sum_over_ranks(rows.index_copy(0, torch.tensor([rank()], device=x.device), x[None])).flatten(0, 1)

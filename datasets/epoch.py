"""The epoch that a loader of one's own is in, which all its worker processes know."""

import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor


def first_epoch() -> Int64[Tensor, "2"]:
    """Epoch 0, of which nothing was given: the number of the epoch, and how often a loader was given its first clip.

    It lies in memory that worker processes share. Where there is none, they have copies, made when they start.
    """
    epoch = torch.zeros(2, dtype=torch.int64)
    try:
        return epoch.share_memory_()
    except RuntimeError:  # a full /dev/shm, say
        return epoch


def warn_of_repetition(epoch: Int64[Tensor, "2"], indices: Sequence[int]) -> None:
    """Count who is given the first clip, and say, once, when a loader begins an epoch again: it would learn from the same views."""
    if 0 not in indices:
        return
    epoch[1] += 1
    if epoch[1] == 2:
        warnings.warn(
            f"the clips of epoch {epoch[0]} are given again, with the same views; call Clips.set_epoch(epoch) before each epoch",
            stacklevel=2,
        )

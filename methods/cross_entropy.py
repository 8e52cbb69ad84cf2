"""The loss of every method that predicts a distribution over prototypes in one view from another view."""

import torch
from jaxtyping import Float
from torch import Tensor


def cross_entropies(
    student: Float[Tensor, "v b k"], target: Float[Tensor, "g b k"], temperature: float
) -> Float[Tensor, "g v"]:
    """Mean cross-entropy over the batch, -sum_k target log softmax(student / temperature), for each pair of views.

    Written as log-sum-exp minus inner product, so that autograd keeps one float32 copy of the student's logits and no copy
    of their logarithmic softmax. Every target must sum to one.
    """
    scaled = student.float() / temperature
    inner = torch.einsum("gbk,vbk->gv", target, scaled) / student.shape[1]
    return scaled.logsumexp(-1).mean(1) - inner


def other_views(pairs: Float[Tensor, "g v"]) -> Float[Tensor, ""]:
    """The mean over all pairs whose views differ; the first g of the v views are those of the targets."""
    same = torch.eye(*pairs.shape, dtype=torch.bool, device=pairs.device)
    return pairs[~same].mean()

"""Sinkhorn-Knopp: from scores to a transport plan with given marginals (https://arxiv.org/abs/1306.0895).

Letters: n items (images, or patches of one image), k clusters (prototypes, or objects).
"""

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def sinkhorn(scores: Float[Tensor, "*b n k"], epsilon: float, num_iterations: int) -> Float[Tensor, "*b n k"]:
    """Soft assignments of items to clusters: each item's row sums to 1, each cluster's column approaches n / k.

    Every iteration rescales the clusters first and the items last, as in SwAV. It runs on logarithms in float32, hence no score
    is too large or too small for it.
    """
    log_q = scores.float() / epsilon
    for _ in range(num_iterations):
        log_q = log_q - log_q.logsumexp(-2, keepdim=True)
        log_q = log_q - log_q.logsumexp(-1, keepdim=True)
    return log_q.exp()


@torch.no_grad()
def sinkhorn_exp(scores: Float[Tensor, "*b n k"], epsilon: float, num_iterations: int) -> Float[Tensor, "*b n k"]:
    """The same iterations on exponentials, shifted by the largest score of each problem, as in DoRA's release.

    An item or a cluster whose scores all lie 104 epsilon (float32's range) below the largest one is 0 / 0: its problem becomes NaN.
    """
    q = scores.float() / epsilon
    q = (q - q.amax((-2, -1), keepdim=True)).exp()
    for _ in range(num_iterations):
        q = q / q.sum(-2, keepdim=True)
        q = q / q.sum(-1, keepdim=True)
    return q

"""Numbers that tell early whether a method collapses. They watch; no gradient flows through them.

Letters: b images, d width of the features, k prototypes.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def entropy(probs: Float[Tensor, "*b k"]) -> Float[Tensor, "*b"]:
    """Shannon entropy in nats."""
    return -torch.xlogy(probs, probs).sum(-1)


def feature_std(features: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Standard deviation over the batch of L2-normalised features, times sqrt(d): 1 when they point everywhere, 0 when
    they are all the same (SimSiam, https://arxiv.org/abs/2011.10566, section 4.1)."""
    return F.normalize(features, dim=-1).std(0).mean() * math.sqrt(features.shape[-1])


def rankme(features: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Effective rank, exp of the entropy of the normalised singular values (RankMe, https://arxiv.org/abs/2210.02885, eq. 1)."""
    values = torch.linalg.svdvals(features)
    return entropy(values / (values.sum() + 1e-7) + 1e-7).exp()


@torch.no_grad()
def of_features(features: Float[Tensor, "b d"]) -> dict[str, Float[Tensor, ""]]:
    """Spread and effective rank of the backbone's features (at most 512 of them)."""
    features = features.detach().float()[:512]
    return {"feature_std": feature_std(features), "rankme": rankme(features)}


@torch.no_grad()
def of_targets(probs: Float[Tensor, "*b k"]) -> dict[str, Float[Tensor, ""]]:
    """Measure how the targets use the prototypes.

    `target_entropy` is the mean entropy, `target_kl` the mean divergence from the uniform distribution (0: no target says
    anything), `prototype_usage` the exponentiated entropy of the mean target as a share of all prototypes (1/k: all targets
    are the same prototype). Collapse is a `target_kl` near 0 or a usage near 1/k.
    """
    probs = probs.detach().float().flatten(0, -2)
    mean, k = entropy(probs).mean(), probs.shape[-1]
    usage = entropy(probs.mean(0)).exp() / k
    return {"target_entropy": mean, "target_kl": math.log(k) - mean, "prototype_usage": usage}

"""Heads that pretraining puts on the backbone and evaluation throws away."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.parallel import sum_over_ranks, world_size


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the rows of all processes, on any device (`nn.SyncBatchNorm` knows GPUs only).

    Every process must hold the same number of rows.
    """

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        if self.training and len(x) * world_size() < 2:
            raise ValueError("batch normalisation of a single row: it needs batch statistics; use a larger batch_size")
        if not self.training or world_size() == 1:
            return super().forward(x)
        rows = len(x) * world_size()
        x = x.float()
        mean = sum_over_ranks(x.sum(0)) / rows
        var = sum_over_ranks((x - mean).square().sum(0)) / rows
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * rows / (rows - 1), self.momentum)
        x = (x - mean) * (var + self.eps).rsqrt()
        return x * self.weight + self.bias if self.affine else x


def mlp(dims: Sequence[int], norm: bool = True, last_norm: bool = False, last_bias: bool = True) -> nn.Sequential:
    """Linear layers of these widths with batch normalisation and ReLU between them: the projectors of SimCLR, SwAV, VICReg."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(dims)):
        last = i == len(dims) - 2
        layers.append(nn.Linear(a, b, bias=not last or last_bias))
        if last_norm if last else norm:
            layers.append(BatchNorm(b))
        if not last:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class WeightNormLinear(nn.Module):
    """Linear map without bias whose rows have the length `weight_g`: the prototypes of DINO's head.

    The length starts at 1; `trainable_norm=False` keeps the student's there (DINO's `norm_last_layer`).
    """

    def __init__(self, in_dim: int, out_dim: int, trainable_norm: bool) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(out_dim, 1), requires_grad=trainable_norm)
        self.weight_v = nn.Parameter(nn.Linear(in_dim, out_dim, bias=False).weight.detach())  # PyTorch's default

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b k"]:
        return F.linear(x, self.weight_g * F.normalize(self.weight_v, dim=-1, eps=0))


class DINOHead(nn.Module):
    """Three-layer MLP, L2 normalisation of the bottleneck, weight-normalised map to K outputs (DINO, appendix C).

    `use_bn` puts a batch normalisation behind the first two layers (main_dino.py, use_bn_in_head). `embed` stops before the
    last layer, which is linear: rows can be selected, or averaged, before their K outputs are computed.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        norm_last_layer: bool = True,
        use_bn: bool = False,
    ) -> None:
        super().__init__()
        norm = BatchNorm if use_bn else nn.Identity
        self.mlp = nn.Sequential(
            nn.Linear(in_dim, hidden_dim), norm(hidden_dim), nn.GELU(),
            nn.Linear(hidden_dim, hidden_dim), norm(hidden_dim), nn.GELU(),
            nn.Linear(hidden_dim, bottleneck_dim),
        )  # fmt: skip
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.last_layer = WeightNormLinear(bottleneck_dim, out_dim, trainable_norm=not norm_last_layer)

    def embed(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        return F.normalize(self.mlp(x), dim=-1)

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        return self.last_layer(self.embed(x))

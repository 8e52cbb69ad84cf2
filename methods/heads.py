"""Heads that pretraining puts on the backbone and evaluation throws away."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


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

    `use_bn` puts a batch normalisation behind the first two layers (main_dino.py, use_bn_in_head).
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
        norm = nn.BatchNorm1d if use_bn else nn.Identity
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

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        return self.last_layer(F.normalize(self.mlp(x), dim=-1))

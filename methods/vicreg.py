"""VICReg: variance-invariance-covariance regularisation (https://arxiv.org/abs/2105.04906).

Letters: b images (of all processes for variance and covariance), d width of the embedding.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods import health
from longtake.methods.base import Batch, Duration, Method, needs_batch_statistics, needs_two_global_views, within
from longtake.methods.heads import mlp
from longtake.parallel import gather


def invariance_loss(x: Float[Tensor, "b d"], y: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Mean squared difference of the two embeddings (eq. 5; the original divides by d as well)."""
    return F.mse_loss(x.float(), y.float())


def variance_loss(x: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Mean shortfall of the dimensions' standard deviations below 1 (eqs. 1 and 2)."""
    return (1 - (x.float().var(0) + 1e-4).sqrt()).relu().mean()


def covariance_loss(x: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Squares of the covariances between different dimensions, summed, by d (eqs. 3 and 4)."""
    x = x.float() - x.float().mean(0)
    cov = x.T @ x / (len(x) - 1)
    return (cov.square().sum() - cov.diagonal().square().sum()) / x.shape[1]


class VICReg(Method, name="vicreg"):
    """Two views agree while every dimension varies and no two vary together; no teacher, no negatives.

    The variance of the two embeddings is averaged (the original's half), their covariance is added.
    """

    warmup_reaches_peak = False

    def __init__(
        self,
        backbone: ViT,
        duration: Duration,
        *,
        hidden_dim: int = 8192,
        out_dim: int = 8192,
        sim_coeff: float = 25.0,
        std_coeff: float = 25.0,
        cov_coeff: float = 1.0,
        **recipe: Any,
    ) -> None:
        super().__init__(backbone, duration, **recipe)
        weights = {"sim_coeff": sim_coeff, "std_coeff": std_coeff, "cov_coeff": cov_coeff}
        within(**{key: (value, 0, float("inf")) for key, value in weights.items()})
        self.projector = mlp([backbone.embed_dim, hidden_dim, hidden_dim, out_dim], last_bias=False)
        self.sim_coeff, self.std_coeff, self.cov_coeff = sim_coeff, std_coeff, cov_coeff

    def check_batch(self, batch: Batch) -> None:
        super().check_batch(batch)
        needs_two_global_views(batch)
        needs_batch_statistics(batch, self.projector)

    def losses(self, views: Views) -> dict[str, Float[Tensor, ""]]:
        cls = self.backbone(torch.stack(views.globals).flatten(0, 2)).cls  # (2b, d)
        x, y = self.projector(cls).chunk(2)
        if self.watching:
            self.look(lambda: health.of_features(cls))
        everyone = gather(x.float()), gather(y.float())
        return {
            "invariance": self.sim_coeff * invariance_loss(x, y),
            "variance": self.std_coeff * torch.stack([variance_loss(z) for z in everyone]).mean(),
            "covariance": self.cov_coeff * torch.stack([covariance_loss(z) for z in everyone]).sum(),
        }

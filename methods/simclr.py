"""SimCLR: a simple framework for contrastive learning (https://arxiv.org/abs/2002.05709).

Letters: b images of this process, n = b x ranks images of all, d width of the projection.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods import health
from longtake.methods.base import Batch, Duration, Method, needs_batch_statistics, needs_two_global_views, positive
from longtake.methods.heads import BatchNorm, mlp
from longtake.parallel import gather, rank


def nt_xent(z0: Float[Tensor, "b d"], z1: Float[Tensor, "b d"], temperature: float) -> Float[Tensor, ""]:
    """Normalised temperature-scaled cross-entropy, the mean over this process's 2b anchors (eq. 1).

    The positive of an anchor is the other view of its image; its negatives are both views of all other images on all processes.
    Google's code returns the sum of the two directions, which is twice this.
    """
    z = F.normalize(torch.stack([z0, z1]).float(), dim=-1)  # (2, b, d)
    everyone = torch.stack([gather(z[0]), gather(z[1])])  # (2, n, d)
    b, n = z.shape[1], everyone.shape[1]
    logits = z.flatten(0, 1) @ everyone.flatten(0, 1).T / temperature  # (2b, 2n)
    mine = torch.arange(b, device=z.device) + rank() * b
    itself, positive_ = torch.cat([mine, mine + n]), torch.cat([mine + n, mine])
    logits = logits.scatter(1, itself[:, None], -torch.inf)
    return F.cross_entropy(logits, positive_)


class SimCLR(Method, name="simclr"):
    """Two views of an image attract, views of different images repel; no teacher.

    The projector has `num_layers` layers with batch normalisation, the last one without shift; the features are its input.
    """

    warmup_reaches_peak = False

    def __init__(
        self,
        backbone: ViT,
        duration: Duration,
        *,
        temperature: float = 0.1,
        hidden_dim: int | None = None,
        out_dim: int = 128,
        num_layers: int = 3,
        **recipe: Any,
    ) -> None:
        super().__init__(backbone, duration, **recipe)
        positive(temperature=temperature)
        hidden = [hidden_dim or backbone.embed_dim] * (num_layers - 1)
        self.projector = mlp([backbone.embed_dim, *hidden, out_dim], last_norm=True, last_bias=False)
        for layer in self.projector:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.01)  # tf2/model.py of google-research/simclr
        last = self.projector[-1]
        assert isinstance(last, BatchNorm)
        last.bias.requires_grad_(False)
        self.temperature = temperature

    def check_batch(self, batch: Batch) -> None:
        super().check_batch(batch)
        needs_two_global_views(batch)
        needs_batch_statistics(batch, self.projector)

    def losses(self, views: Views) -> dict[str, Float[Tensor, ""]]:
        cls = self.backbone(torch.stack(views.globals).flatten(0, 2)).cls  # (2b, d)
        z0, z1 = self.projector(cls).chunk(2)
        if self.watching:
            self.look(lambda: health.of_features(cls))
        return {"nt_xent": nt_xent(z0, z1, self.temperature)}

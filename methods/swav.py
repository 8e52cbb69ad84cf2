"""SwAV: swapping assignments between views (https://arxiv.org/abs/2006.09882).

Letters: g views with assignments (the globals), v all views, b images, k prototypes, d width of the embedding, m rows of the queue.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods import health
from longtake.methods.base import Batch, Duration, Method, needs_batch_statistics, positive
from longtake.methods.cross_entropy import cross_entropies, other_views
from longtake.methods.heads import mlp
from longtake.methods.sinkhorn import sinkhorn
from longtake.parallel import gather, rank


@torch.no_grad()
def assign(
    embedding: Float[Tensor, "b d"],
    prototypes: Float[Tensor, "k d"],
    queue: Float[Tensor, "m d"],
    epsilon: float,
    num_iterations: int,
) -> Float[Tensor, "b k"]:
    """Balanced soft assignments of this process's images, worked out together with the queue's and all processes' (section 3.2)."""
    rows = torch.cat([queue, gather(embedding)]).float()
    q = sinkhorn(rows @ prototypes.float().T, epsilon, num_iterations)
    b = len(embedding)
    return q[len(queue) + rank() * b :][:b]


@torch.no_grad()
def enqueued(queue: Float[Tensor, "m d"], embedding: Float[Tensor, "b d"]) -> Float[Tensor, "m d"]:
    """The queue with the images of all processes at its front, the oldest ones gone."""
    return torch.cat([gather(embedding).float(), queue])[: len(queue)]


class SwAV(Method, name="swav"):
    """One view predicts the prototypes that another view was assigned to; balanced assignments keep it from collapsing.

    `queue_length` embeddings per assigned view take part in the assignment from `queue_start_epoch` on, once there are so many; it
    must be a multiple of the images of a step (`ValueError`). The queue is the same on all processes. Prototypes keep unit
    length and do not move during the first `freeze_prototypes_steps`.
    """

    def __init__(
        self,
        backbone: ViT,
        duration: Duration,
        *,
        hidden_dim: int = 2048,
        out_dim: int = 128,
        num_prototypes: int = 3000,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        sinkhorn_iterations: int = 3,
        queue_length: int = 0,
        queue_start_epoch: int = 15,
        freeze_prototypes_steps: int = 313,
        **recipe: Any,
    ) -> None:
        super().__init__(backbone, duration, **recipe)
        positive(temperature=temperature, epsilon=epsilon)
        self.projector = mlp([backbone.embed_dim, hidden_dim, out_dim])
        self.prototypes = nn.Linear(out_dim, num_prototypes, bias=False)
        self.queue: Tensor
        self.register_buffer("queue", torch.zeros(2, queue_length, out_dim))
        self.temperature, self.epsilon, self.sinkhorn_iterations = temperature, epsilon, sinkhorn_iterations
        self.queue_start_epoch, self.freeze_prototypes_steps = queue_start_epoch, freeze_prototypes_steps

    def check_batch(self, batch: Batch) -> None:
        super().check_batch(batch)
        if batch.num_globals != 2:
            raise ValueError(f"method.views.globals: got {batch.num_globals} global views, expected 2 to be assigned")
        if self.queue.shape[1] % batch.images:
            raise ValueError(
                f"method.queue_length={self.queue.shape[1]} is not a multiple of the {batch.images} images of a step "
                "(batch_size x method.num_frames)"
            )
        needs_batch_statistics(batch, self.projector)

    def losses(self, views: Views) -> dict[str, Float[Tensor, ""]]:
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=-1))
        cls = [self.backbone(torch.stack(group).flatten(0, 2)).cls for group in views[:2] if group]
        b = views.globals[0].shape[:2].numel()
        embedding = F.normalize(self.projector(torch.cat(cls)), dim=-1).unflatten(0, (-1, b))  # (v, b, d)
        assigned = embedding[:2].detach()
        q = torch.stack([self.assigned(i, assigned[i]) for i in range(2)])  # (g, b, k)
        if self.watching:
            self.look(lambda: {**health.of_features(cls[0]), **health.of_targets(q)})
        return {"swav": other_views(cross_entropies(self.prototypes(embedding), q, self.temperature))}

    def assigned(self, view: int, embedding: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Assignments of a view, with its queue once that is full; afterwards the view joins the queue."""
        queue = self.queue[view] if self.epoch >= self.queue_start_epoch else self.queue[view, :0]
        in_use = len(queue) > 0 and bool(queue[-1].any())
        q = assign(
            embedding, self.prototypes.weight, queue if in_use else queue[:0], self.epsilon, self.sinkhorn_iterations
        )
        queue.copy_(enqueued(queue, embedding))
        return q

    def clip_gradients(self) -> None:
        super().clip_gradients()
        if self.global_step < self.freeze_prototypes_steps:
            self.prototypes.weight.grad = None

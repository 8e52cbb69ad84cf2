"""DoRA: discover and track, then recognise (https://arxiv.org/abs/2310.08584, sections 4 and B.1).

Letters: g global views, m local views, b images of a view (B clips x T frames), k objects, n patches, o outputs of the head.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.backbones.vit import Tokens, ViT
from longtake.datasets.views import Views
from longtake.methods.base import Batch, Duration, one_of, positive
from longtake.methods.cross_entropy import cross_entropies
from longtake.methods.dino import DINO, targets, updated_center
from longtake.methods.tracking import (
    MASK_KINDS,
    MASK_NORMS,
    OBJECT_SOURCES,
    ROW_MASSES,
    SOLVERS,
    UPSAMPLINGS,
    Tracker,
    contrast,
    masked_frames,
    mended,
    overlap,
    weights_of,
)

REDUCTIONS = ("sum", "mean", "leaky_mean")


def multi_object_loss(
    pairs: Float[Tensor, "g k g"], cross_view: bool, reduction: str, num_frames: int
) -> Float[Tensor, ""]:
    """L^O (eq. 8) from the cross-entropies between teacher view u and object i of masked student view v: `pairs[u, i, v]`.

    The paper sums over u != v and i; the release has u = v, takes means, and a half of them.
    """
    same = torch.eye(len(pairs), dtype=torch.bool, device=pairs.device)
    per_object = pairs.transpose(1, 2)[~same if cross_view else same].mean(0)  # (k,), the mean over pairs of views
    if reduction == "sum":
        return per_object.sum() * (~same if cross_view else same).sum()
    return 0.5 * (per_object * object_weights(len(per_object), reduction, num_frames).to(pairs.device)).mean()


def local_loss(pairs: Float[Tensor, "g m"], reduction: str, num_objects: int, num_frames: int) -> Float[Tensor, ""]:
    """L^LC (eq. 9) from the cross-entropies between teacher view u and local view i; the release's comes once per object."""
    if reduction == "sum":
        return pairs.sum()
    return 0.5 * pairs.mean() * object_weights(num_objects, reduction, num_frames).to(pairs.device).mean()


def object_weights(num_objects: int, reduction: str, num_frames: int) -> Float[Tensor, "k"]:
    """Ones; or with `leaky_mean` the release's (1 + 1/T + 1/T^2, 1 + 1/T, 1): each object's sum is carried into the next one's."""
    if reduction == "mean":
        return torch.ones(num_objects)
    return torch.tensor([sum(float(num_frames) ** -i for i in range(num_objects - j)) for j in range(num_objects)])


class DoRA(DINO, name="dora"):
    """DINO whose student sees the tracked objects of a clip, one at a time, instead of whole frames.

    The arguments beyond DINO's and `Tracker`'s are the points at which the paper and its released code differ; the defaults are
    the paper's, configs/method/dora.yaml has both. `tracking=False` is DoRA*: every frame is an image of its own
    (appendix D). `guard_maps` replaces maps that are empty, flat or not finite by whole frames and counts them.
    """

    def __init__(
        self,
        backbone: ViT,
        duration: Duration,
        *,
        tracking: bool = True,
        cross_view: bool = True,
        mask_kind: str = "soft",
        mask_norm: str = "max",
        mask_upsampling: str = "bilinear",
        guard_maps: bool = True,
        skip_first_local: bool = False,
        loss_reduction: str = "sum",
        norm_last_layer: bool = False,
        num_objects: int = 3,
        sinkhorn: bool = True,
        objects_from: str = "attention",
        block_ratio: float = 0.3,
        sk_epsilon: float = 0.05,
        sk_iterations: int = 30,
        sk_normalize: bool = False,
        sk_row_mass: str = "1/k",
        sk_domain: str = "log",
        **recipe: Any,
    ) -> None:
        super().__init__(backbone, duration, norm_last_layer=norm_last_layer, **recipe)
        self.tracker = Tracker(
            num_objects=num_objects, sinkhorn=sinkhorn, objects_from=objects_from, block_ratio=block_ratio,
            sk_epsilon=sk_epsilon, sk_iterations=sk_iterations, sk_normalize=sk_normalize, sk_row_mass=sk_row_mass,
            sk_domain=sk_domain,
        )  # fmt: skip
        self.tracking, self.cross_view, self.skip_first_local = tracking, cross_view, skip_first_local
        self.mask_kind, self.mask_norm, self.mask_upsampling = mask_kind, mask_norm, mask_upsampling
        self.guard_maps, self.loss_reduction = guard_maps, loss_reduction
        positive(num_objects=num_objects, sk_epsilon=sk_epsilon, sk_iterations=sk_iterations)
        one_of("mask_kind", mask_kind, MASK_KINDS)
        one_of("mask_norm", mask_norm, MASK_NORMS)
        one_of("mask_upsampling", mask_upsampling, UPSAMPLINGS)
        one_of("loss_reduction", loss_reduction, REDUCTIONS)
        one_of("objects_from", objects_from, OBJECT_SOURCES)
        one_of("sk_row_mass", sk_row_mass, ROW_MASSES)
        one_of("sk_domain", sk_domain, SOLVERS)
        if objects_from == "attention" and num_objects > backbone.last_heads:
            raise ValueError(
                f"method.num_objects={num_objects}: the last block has {backbone.last_heads} heads, one for each object; "
                "give it more with backbone.last_heads (paper B.2: 16 or 32)"
            )

    def check_batch(self, batch: Batch) -> None:
        super().check_batch(batch)
        if self.tracking and batch.num_frames < 2:
            raise ValueError(
                f"method.num_frames={batch.num_frames}: there is nothing to track in one frame; use more, "
                "or method.tracking=false (DoRA* on images)"
            )
        if batch.num_locals < 1 + self.skip_first_local:
            raise ValueError(
                f"method.views.locals: got {batch.num_locals} local views, the local loss (eq. 9) needs at least "
                f"{1 + self.skip_first_local}"
            )
        if self.cross_view and batch.num_globals < 2:
            raise ValueError("method.views.globals: got 1 global view, method.cross_view=true compares two")

    def losses(self, views: Views) -> dict[str, Float[Tensor, ""]]:
        globals_ = torch.stack(views.globals)  # (g, B, T, 3, s, s)
        g, num_frames, b = len(globals_), globals_.shape[2], globals_.shape[1:3].numel()
        with torch.no_grad():
            tokens = self.teacher_backbone(globals_.flatten(0, 2))
            teacher = self.teacher_head(tokens.cls).unflatten(0, (g, b))
            masked = self.masked(globals_.flatten(0, 1), tokens)  # (k, g B, T, 3, s, s)
            target = targets(teacher, self.center, self.teacher_temps[self.epoch])
        cls = self.backbone(masked.flatten(0, 2)).cls  # (k g b, d)
        del masked
        student = self.head(torch.cat([cls, *self.locals_cls(views)])).unflatten(0, (-1, b))  # (k g + m, b, o)
        pairs = cross_entropies(student, target, self.student_temp)
        k = self.tracker.num_objects
        objects, local = pairs[:, : k * g].unflatten(1, (k, g)), pairs[:, k * g + self.skip_first_local :]
        self.center = updated_center(self.center, teacher, self.center_momentum)
        self.watch(tokens.cls, target)
        return {
            "object": multi_object_loss(objects, self.cross_view, self.loss_reduction, num_frames),
            "local": local_loss(local, self.loss_reduction, k, num_frames),
        }

    def masked(self, frames: Float[Tensor, "c t 3 s s"], tokens: Tokens) -> Float[Tensor, "k c t 3 s s"]:
        """The clips once per object, as the student sees them; `tokens` are the teacher's of all their frames."""
        grid = self.backbone.grid_of(frames)
        maps = self.tracker(tokens, frames.shape[1] if self.tracking else 1, grid)  # (c, t, k, n), or (c t, 1, k, n)
        weights = weights_of(maps, self.mask_kind, self.mask_norm).reshape(*frames.shape[:2], *maps.shape[-2:])
        whole, bad = mended(weights)
        if self.watching:
            self.note(
                {"map_kept": weights.mean(), "map_contrast": contrast(weights).mean(), "map_bad": bad.float().mean()}
                | {"map_overlap": overlap(weights).mean()}
            )
        return masked_frames(frames, whole if self.guard_maps else weights, grid, self.mask_upsampling)

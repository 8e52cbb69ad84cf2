"""iBOT: image BERT pre-training with online tokenizer (https://arxiv.org/abs/2111.07832).

Letters: g global views, b images of a view, n patches of an image, m masked patches of all images and views, k outputs of a head.
"""

import random
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from longtake.backbones.vit import Tokens, ViT
from longtake.datasets.views import Views
from longtake.methods.base import Batch, Duration, one_of, positive
from longtake.methods.cross_entropy import cross_entropies, other_views
from longtake.methods.dino import DINO, targets, updated_center
from longtake.methods.heads import WeightNormLinear
from longtake.methods.masking import block_mask, random_mask
from longtake.methods.teacher import teacher_of, update_teacher

MASK_SHAPES = {"block": block_mask, "random": random_mask}


def masked_patch_loss(
    student: Float[Tensor, "m k"],
    target: Float[Tensor, "m k"],
    token_mask: Bool[Tensor, "*b n"],
    student_temp: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of the masked patches: the mean over those of an image, then over all images (eq. 2).

    Images without a mask count, with 0. `student` and `target` are the masked patches alone, in the order of `token_mask`.
    """
    scaled = student.float() / student_temp
    loss = scaled.logsumexp(-1) - (target * scaled).sum(-1)  # (m,)
    count = token_mask.sum(-1, keepdim=True).clamp(min=1)
    weight = (1 / count).expand_as(token_mask)[token_mask] / token_mask[..., 0].numel()
    return (loss * weight).sum()


class iBOT(DINO, name="ibot"):
    """DINO, and beside it the teacher's distribution at every patch that was hidden from the student, in the same view.

    `pred_ratio` and `pred_ratio_var` may be lists of equal length: each image takes one of the entries, and hides a share of its
    patches drawn from ratio +- var. `mask_shape` is block or random. With `shared_head` classes and patches share the prototypes.
    """

    draws_per_image = True

    def __init__(
        self,
        backbone: ViT,
        duration: Duration,
        *,
        out_dim: int = 8192,
        patch_out_dim: int = 8192,
        shared_head: bool = True,
        pred_ratio: float | list[float] = 0.3,
        pred_ratio_var: float | list[float] = 0.0,
        pred_start_epoch: int = 0,
        mask_shape: str = "block",
        cls_weight: float = 1.0,
        patch_weight: float = 1.0,
        teacher_patch_temp: float = 0.07,
        warmup_teacher_patch_temp: float = 0.04,
        warmup_teacher_temp_epochs: int = 30,
        **recipe: Any,
    ) -> None:
        super().__init__(
            backbone, duration, out_dim=out_dim, warmup_teacher_temp_epochs=warmup_teacher_temp_epochs, **recipe
        )
        positive(teacher_patch_temp=teacher_patch_temp, warmup_teacher_patch_temp=warmup_teacher_patch_temp)
        one_of("mask_shape", mask_shape, MASK_SHAPES)
        self.ratios, self.draw_mask = ratio_ranges(pred_ratio, pred_ratio_var), MASK_SHAPES[mask_shape]
        backbone.mask_token = nn.Parameter(torch.zeros(1, 1, backbone.embed_dim))  # after the teacher was copied
        bottleneck, trained = self.head.last_layer.weight_v.shape[1], self.head.last_layer.weight_g.requires_grad
        self.patch_layer: nn.Module | None = (
            None if shared_head else WeightNormLinear(bottleneck, patch_out_dim, trained)
        )
        self.teacher_patch_layer: nn.Module | None = None if self.patch_layer is None else teacher_of(self.patch_layer)
        self.patch_center: Tensor
        self.register_buffer("patch_center", torch.zeros(out_dim if shared_head else patch_out_dim))
        self.pred_start_epoch, self.cls_weight, self.patch_weight = pred_start_epoch, cls_weight, patch_weight
        delayed = min(pred_start_epoch + warmup_teacher_temp_epochs, duration.epochs) - pred_start_epoch
        self.patch_temps = [warmup_teacher_patch_temp] * pred_start_epoch + list(
            self.teacher_schedule(warmup_teacher_patch_temp, teacher_patch_temp, max(delayed, 0))
        )

    def check_batch(self, batch: Batch) -> None:
        super().check_batch(batch)
        if batch.num_globals < 2:
            raise ValueError(f"method.views.globals: got {batch.num_globals} global view, expected at least 2")

    def losses(self, views: Views) -> dict[str, Float[Tensor, ""]]:
        globals_ = torch.stack(views.globals).flatten(1, 2)  # (g, b, 3, s, s)
        g, b = globals_.shape[:2]
        images = globals_.flatten(0, 1)
        with torch.no_grad():
            tokens = self.teacher_backbone(images)
            token_mask = self.draw_masks(tokens, views)  # (g b, n)
            embedded = self.teacher_head.embed(torch.cat([tokens.cls, tokens.patches.flatten(0, 1)]))
            teacher = self.teacher_head.last_layer(embedded[: g * b]).unflatten(0, (g, b))
            patches = embedded[g * b :].unflatten(0, (g * b, -1))  # (g b, n, e)
            patch_layer = self.teacher_patch_layer or self.teacher_head.last_layer
            target = targets(teacher, self.center, self.teacher_temps[self.epoch])
            patch_target = targets(patch_layer(patches[token_mask]), self.patch_center, self.patch_temps[self.epoch])
        student = self.backbone(images, token_mask)
        cls = torch.cat([student.cls, *self.locals_cls(views)])
        embedded = self.head.embed(torch.cat([cls, student.patches[token_mask]]))
        logits = self.head.last_layer(embedded[: len(cls)]).unflatten(0, (-1, b))  # (v, b, k)
        patch_logits = (self.patch_layer or self.head.last_layer)(embedded[len(cls) :])  # (m, k)
        self.center = updated_center(self.center, teacher, self.center_momentum)
        mean_patch = patch_layer(patches.float().mean((0, 1)))  # linear: the mean of all patches' logits
        self.patch_center = updated_center(self.patch_center, mean_patch[None], self.center_momentum)
        self.watch(student.cls, target)
        if self.watching:
            self.note({"masked_share": token_mask.float().mean()})
        return {
            "cls": self.cls_weight * other_views(cross_entropies(logits, target, self.student_temp)),
            "patch": self.patch_weight * masked_patch_loss(patch_logits, patch_target, token_mask, self.student_temp),
        }

    def draw_masks(self, tokens: Tokens, views: Views) -> Bool[Tensor, "gb n"]:
        """The patches hidden from the student, drawn for each image and view on its own."""
        gb, n = tokens.patches.shape[:2]
        if self.epoch < self.pred_start_epoch:
            return torch.zeros(gb, n, dtype=torch.bool, device=tokens.patches.device)
        grid = self.backbone.grid_of(views.globals[0])
        draw = random.Random(int(torch.randint(2**62, ())))
        masks = [self.draw_mask(grid, draw.uniform(*draw.choice(self.ratios)), draw) for _ in range(gb)]
        return torch.stack(masks).flatten(1).to(tokens.patches.device)

    def last_layer_parameters(self) -> list[nn.Parameter]:
        return super().last_layer_parameters() + list(self.patch_layer.parameters() if self.patch_layer else ())

    def after_step(self, step: int) -> None:
        super().after_step(step)
        if self.patch_layer is not None and self.teacher_patch_layer is not None:
            update_teacher(self.teacher_patch_layer, self.patch_layer, self.momenta[step])


def ratio_ranges(ratio: float | list[float], var: float | list[float]) -> list[tuple[float, float]]:
    """(lowest, highest) share of hidden patches for each entry. Raises `ValueError` when the lists do not fit together."""
    ratios = ratio if isinstance(ratio, list) else [ratio]
    variations = var if isinstance(var, list) else [var] * len(ratios)
    if len(ratios) != len(variations) or any(
        not 0 <= r - v <= r + v <= 1 for r, v in zip(ratios, variations, strict=True)
    ):
        raise ValueError(
            f"method.pred_ratio={ratio} pred_ratio_var={var}: expected as many of each, and ratio +- var within 0 and 1"
        )
    return [(r - v, r + v) for r, v in zip(ratios, variations, strict=True)]

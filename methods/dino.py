"""DINO: self-distillation with no labels (https://arxiv.org/abs/2104.14294).

Letters: g global views, v all views (globals first), b images of a view (B clips x T frames), k outputs of the head.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods import health
from longtake.methods.base import Batch, Duration, Method, needs_batch_statistics, positive, within
from longtake.methods.cross_entropy import cross_entropies, other_views
from longtake.methods.heads import DINOHead
from longtake.methods.schedules import cosine_schedule, warmup_then_constant
from longtake.methods.teacher import teacher_of, update_teacher
from longtake.parallel import mean_over_ranks


def targets(teacher: Float[Tensor, "*b k"], center: Float[Tensor, "k"], teacher_temp: float) -> Float[Tensor, "*b k"]:
    """The teacher's distribution: centred, sharpened (eqs. 1 and 4), in float32."""
    return ((teacher.float() - center) / teacher_temp).softmax(-1)


def dino_loss(
    student: Float[Tensor, "v b k"],
    teacher: Float[Tensor, "g b k"],
    center: Float[Tensor, "k"],
    student_temp: float,
    teacher_temp: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of each student view to each *other* global view of the teacher, the mean over pairs and images (eqs. 1-3)."""
    return other_views(cross_entropies(student, targets(teacher, center, teacher_temp), student_temp))


def updated_center(center: Float[Tensor, "k"], teacher: Float[Tensor, "*b k"], momentum: float) -> Float[Tensor, "k"]:
    """Moving mean of the teacher's logits over views, images and ranks (eq. 4)."""
    return center * momentum + mean_over_ranks(teacher.float().flatten(0, -2).mean(0)) * (1 - momentum)


class DINO(Method, name="dino"):
    """A student sees all views, its moving average sees the global ones; centring and sharpening keep it from collapsing.

    Temperatures must be positive; `warmup_teacher_temp_epochs` must fit into the run (`ValueError`). For the first
    `freeze_last_layer_epochs` the prototypes do not move.
    """

    def __init__(
        self,
        backbone: ViT,
        duration: Duration,
        *,
        out_dim: int = 65536,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        norm_last_layer: bool = True,
        use_bn_in_head: bool = False,
        student_temp: float = 0.1,
        teacher_temp: float = 0.04,
        warmup_teacher_temp: float = 0.04,
        warmup_teacher_temp_epochs: int = 0,
        momentum: float = 0.996,
        center_momentum: float = 0.9,
        freeze_last_layer_epochs: int = 1,
        **recipe: Any,
    ) -> None:
        super().__init__(backbone, duration, **recipe)
        within(momentum=(momentum, 0, 1), center_momentum=(center_momentum, 0, 1))
        positive(student_temp=student_temp, teacher_temp=teacher_temp, warmup_teacher_temp=warmup_teacher_temp)
        self.teacher_temps = self.teacher_schedule(warmup_teacher_temp, teacher_temp, warmup_teacher_temp_epochs)
        self.head = DINOHead(backbone.embed_dim, out_dim, hidden_dim, bottleneck_dim, norm_last_layer, use_bn_in_head)
        self.teacher_backbone, self.teacher_head = teacher_of(self.backbone), teacher_of(self.head)
        self.center: Tensor
        self.register_buffer("center", torch.zeros(out_dim))
        self.student_temp, self.center_momentum = student_temp, center_momentum
        self.freeze_last_layer_epochs = freeze_last_layer_epochs
        self.momenta = cosine_schedule(momentum, 1.0, duration.num_steps)

    def teacher_schedule(self, start: float, final: float, warmup_epochs: int) -> Any:
        """A teacher temperature for every epoch."""
        if self.duration.epochs < warmup_epochs:
            raise ValueError(
                f"epochs={self.duration.epochs} is shorter than method.warmup_teacher_temp_epochs={warmup_epochs}"
            )
        return warmup_then_constant(start, final, warmup_epochs, self.duration.epochs)

    def check_batch(self, batch: Batch) -> None:
        super().check_batch(batch)
        if batch.num_globals + batch.num_locals < 2:
            raise ValueError("method.views: one view has no other to be compared with; add a global or a local view")
        needs_batch_statistics(batch, self.head.mlp)

    @property
    def encoder(self) -> ViT:
        return self.teacher_backbone

    def train(self, mode: bool = True) -> "DINO":
        super().train(mode)
        self.teacher_backbone.eval()  # no drop path; its head takes batch statistics as the student's does
        return self

    def losses(self, views: Views) -> dict[str, Float[Tensor, ""]]:
        globals_ = torch.stack(views.globals).flatten(1, 2)  # (g, b, 3, s, s)
        g, b = globals_.shape[:2]
        with torch.no_grad():
            teacher = self.teacher_head(self.teacher_backbone(globals_.flatten(0, 1)).cls).unflatten(0, (g, b))
        cls = [self.backbone(globals_.flatten(0, 1)).cls, *self.locals_cls(views)]
        student = self.head(torch.cat(cls)).unflatten(0, (-1, b))  # (v, b, k)
        teacher_temp = self.teacher_temps[self.epoch]
        loss = dino_loss(student, teacher, self.center, self.student_temp, teacher_temp)
        if self.watching:
            self.watch(cls[0], targets(teacher, self.center, teacher_temp))
        self.center = updated_center(self.center, teacher, self.center_momentum)
        return {"dino": loss}

    def locals_cls(self, views: Views) -> list[Float[Tensor, "b d"]]:
        """Class tokens of all local views in one pass, crop-major; nothing when there are none."""
        return [self.backbone(torch.stack(views.locals).flatten(0, 2)).cls] if views.locals else []

    def watch(self, features: Float[Tensor, "b d"], target: Float[Tensor, "*b k"]) -> None:
        if self.watching:
            self.look(lambda: {**health.of_features(features), **health.of_targets(target)})

    def clip_gradients(self) -> None:
        super().clip_gradients()
        if self.epoch < self.freeze_last_layer_epochs:
            for parameter in self.last_layer_parameters():
                parameter.grad = None

    def last_layer_parameters(self) -> list[nn.Parameter]:
        return list(self.head.last_layer.parameters())

    def after_step(self, step: int) -> None:
        update_teacher(self.teacher_backbone, self.backbone, self.momenta[step])
        update_teacher(self.teacher_head, self.head, self.momenta[step])

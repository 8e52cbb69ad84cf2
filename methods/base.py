"""What every method shares: registration, schedules, the optimiser step, logging. A method adds `losses`.

One step, in the order of the DINO family's originals: learning rate and weight decay of this step -> `losses` -> backward ->
(unscale) -> clip each gradient -> optimiser -> `after_step` (the teacher's update).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import lightning
import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods.optimizing import clip_each, decay_groups
from longtake.methods.schedules import cosine_schedule
from longtake.registry import Registry

METHODS: "Registry[Method]" = Registry("method", "longtake.methods")


class Duration(NamedTuple):
    """How long a run is: epochs, optimiser steps in one of them, clips in one step on all ranks together."""

    epochs: int
    steps_per_epoch: int
    batch_size: int

    @property
    def num_steps(self) -> int:
        return self.epochs * self.steps_per_epoch


class Method(lightning.LightningModule):
    """A self-supervised method: `class SimCLR(Method, name="simclr")` in `methods/simclr.py`, with `losses`.

    `lr` is for 256 clips and is scaled by clips per step / 256; `min_lr` is not scaled. `warmup_epochs` must fit into the run
    (`ValueError`). `clip_grad` bounds the norm of each gradient tensor (0: off). The defaults are DINO's.
    """

    name: ClassVar[str]

    def __init_subclass__(cls, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.name = name
            METHODS.add(name, cls)

    def __init__(
        self,
        backbone: ViT,
        duration: Duration,
        *,
        lr: float = 5e-4,
        min_lr: float = 1e-6,
        warmup_epochs: int = 10,
        weight_decay: float = 0.04,
        weight_decay_end: float = 0.4,
        clip_grad: float = 3.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if duration.epochs < max(warmup_epochs, 1):
            raise ValueError(
                f"epochs={duration.epochs} is shorter than the warm-up: expected at least {warmup_epochs} (method.warmup_epochs)"
            )
        self.backbone, self.duration = backbone, duration
        self.clip_grad, self.seed = clip_grad, seed
        peak = lr * duration.batch_size / 256
        self.lrs = cosine_schedule(peak, min_lr, duration.num_steps, warmup_epochs * duration.steps_per_epoch)
        self.weight_decays = cosine_schedule(weight_decay, weight_decay_end, duration.num_steps)

    def losses(self, views: Views) -> dict[str, Float[Tensor, ""]]:
        """The named terms of the loss, to be summed. This is the method."""
        raise NotImplementedError

    @property
    def encoder(self) -> ViT:
        """What is evaluated: the backbone, or the teacher's where there is one."""
        return self.backbone

    def after_step(self, step: int) -> None:
        """Called when the weights have moved in optimiser step `step` (counted from 0)."""

    @property
    def epoch(self) -> int:
        return self.global_step // self.duration.steps_per_epoch

    def training_step(self, batch: Views, batch_idx: int) -> Float[Tensor, ""]:
        terms = self.losses(batch)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            values = ", ".join(f"{name} = {value.item():.4g}" for name, value in terms.items())
            raise FloatingPointError(
                f"step {self.global_step}: the loss is not finite ({values}). Lower method.lr, or set trainer.precision=32-true."
            )
        self._log(loss, terms)
        return loss

    def _log(self, loss: Tensor, terms: Mapping[str, Tensor]) -> None:
        self.log("loss", loss)
        self.log_dict({f"loss/{name}": value for name, value in terms.items()})
        self.log("lr", float(self.lrs[self.global_step]))
        self.log("weight_decay", float(self.weight_decays[self.global_step]))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return torch.optim.AdamW(decay_groups(self), lr=0.0)

    def on_train_batch_start(self, batch: Views, batch_idx: int) -> None:
        """Draws inside the loss depend on (seed, step, rank) alone; rates come from the schedules."""
        state = np.random.SeedSequence([self.seed, self.global_step, self.global_rank]).generate_state(1, np.uint64)
        torch.manual_seed(int(state[0] >> 1))
        for group in self.optimizers().optimizer.param_groups:  # type: ignore[union-attr]
            group["lr"] = float(self.lrs[self.global_step])  # NumPy's floats would not load with weights_only
            if group["decays"]:
                group["weight_decay"] = float(self.weight_decays[self.global_step])

    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        """Lightning calls this after the gradients are unscaled and before the optimiser moves."""
        if self.clip_grad:
            clip_each(self.parameters(), self.clip_grad)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        step = self.global_step
        super().optimizer_step(*args, **kwargs)
        self.after_step(step)

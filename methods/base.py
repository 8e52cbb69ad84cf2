"""Every method shares this: registration, schedules, the optimiser step, logging. A method adds `losses`.

One step, in the order of the DINO family's originals: learning rate and weight decay of this step -> `losses` -> backward ->
(unscale) -> clip each gradient -> optimiser -> `after_step` (the teacher's update). A step whose loss or gradient is not
finite changes nothing and is counted; too many of them end the run. Lightning makes the steps (methods/training.py); nothing
here needs it, so that a loop of one's own can, too.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods.optimizing import OPTIMIZERS, clip_each, make_optimizer
from longtake.methods.schedules import cosine_schedule
from longtake.parallel import true_everywhere
from longtake.registry import Registry

LARGEST_RATE = 1000.0  # for 256 clips; recipes have up to 1 (LARS, LARC), and AdamW's weights are lost far below it
Look = Callable[[], Mapping[str, Tensor]]
METHODS: "Registry[type[Method]]" = Registry("method", "longtake.methods")


class Duration(NamedTuple):
    """The length of a run: epochs, optimiser steps in one of them, clips in one step on all ranks together."""

    epochs: int
    steps_per_epoch: int
    batch_size: int

    @property
    def num_steps(self) -> int:
        return self.epochs * self.steps_per_epoch


class Batch(NamedTuple):
    """The batch of one step: clips on all ranks together, frames of a clip, views of both kinds."""

    clips: int
    num_frames: int
    num_globals: int
    num_locals: int

    @property
    def images(self) -> int:
        return self.clips * self.num_frames


class Method(nn.Module):
    """A self-supervised method: `class SimCLR(Method, name="simclr")` in `methods/simclr.py`, with `losses`.

    `lr` is for 256 clips and is scaled by clips per step / 256; `min_lr` is not scaled. `warmup_epochs` must fit into the run
    (`ValueError`). `clip_grad` bounds the norm of each gradient tensor (0: off). `sgd_momentum` is that of the optimisers
    sgd, lars and larc. `health_every` is the number of steps between two looks at `health/...`; after more than
    `max_skipped_steps` steps without a finite loss and gradient the run ends (`FloatingPointError`). The defaults are DINO's.
    """

    name: ClassVar[str]
    warmup_reaches_peak: ClassVar[bool] = True  # whether the last warm-up step has the peak rate (`cosine_schedule`)
    draws_per_image: ClassVar[bool] = False  # whether `losses` draws something for each image: then their order matters

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
        optimizer: str = "adamw",
        lr: float = 5e-4,
        min_lr: float = 1e-6,
        warmup_epochs: int = 10,
        weight_decay: float = 0.04,
        weight_decay_end: float = 0.4,
        sgd_momentum: float = 0.9,
        clip_grad: float = 3.0,
        health_every: int = 10,
        max_skipped_steps: int = 20,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if duration.epochs < max(warmup_epochs, 1):
            raise ValueError(
                f"epochs={duration.epochs} is shorter than the warm-up: expected at least {warmup_epochs} (method.warmup_epochs)"
            )
        one_of("optimizer", optimizer, OPTIMIZERS)
        within(
            lr=(lr, 0, LARGEST_RATE), min_lr=(min_lr, 0, LARGEST_RATE), weight_decay=(weight_decay, 0, LARGEST_RATE),
            weight_decay_end=(weight_decay_end, 0, LARGEST_RATE), sgd_momentum=(sgd_momentum, 0, 1),
            clip_grad=(clip_grad, 0, float("inf")), health_every=(health_every, 1, float("inf")),
            max_skipped_steps=(max_skipped_steps, 0, float("inf")), warmup_epochs=(warmup_epochs, 0, float("inf")),
        )  # fmt: skip
        self.backbone, self.duration = backbone, duration
        self.optimizer, self.sgd_momentum, self.clip_grad, self.seed = optimizer, sgd_momentum, clip_grad, seed
        self.health_every, self.max_skipped_steps = health_every, max_skipped_steps
        peak, warmup_steps = lr * duration.batch_size / 256, warmup_epochs * duration.steps_per_epoch
        self.lrs = cosine_schedule(peak, min_lr, duration.num_steps, warmup_steps, endpoint=self.warmup_reaches_peak)
        self.weight_decays = cosine_schedule(weight_decay, weight_decay_end, duration.num_steps)
        self.num_skipped: Tensor
        self.register_buffer("num_skipped", torch.zeros((), dtype=torch.long))
        self.global_step = 0  # the optimiser step that is being made
        self.skipping = False
        self.scaled = False  # whether the gradients were scaled, by a scaler that skips steps by itself (16-mixed)
        self.logged: dict[str, Tensor | float] = {}  # numbers of this step
        self.notes: dict[str, Tensor] = {}
        self.looks: list[Look] = []

    def losses(self, views: Views) -> dict[str, Float[Tensor, ""]]:
        """The named terms of the loss, to be summed. This is the method."""
        raise NotImplementedError

    def check_batch(self, batch: Batch) -> None:
        """Raise `ValueError`, naming the key, when `losses` could not work with such batches. Called before the run."""
        if batch.num_globals < 1:
            raise ValueError("method.views.globals: got no global view, expected at least 1")

    @property
    def encoder(self) -> ViT:
        """The network that is evaluated: the backbone, or the teacher's where there is one."""
        return self.backbone

    def after_step(self, step: int) -> None:
        """Called when the weights have moved in optimiser step `step` (counted from 0)."""

    @property
    def epoch(self) -> int:
        return self.global_step // self.duration.steps_per_epoch

    @property
    def watching(self) -> bool:
        """Whether this is a step whose health is looked at."""
        return self.global_step % self.health_every == 0

    def note(self, values: Mapping[str, Tensor]) -> None:
        """Remember numbers of this step; they are logged as `health/<name>`."""
        self.notes.update(values)

    def look(self, of: "Look") -> None:
        """Have numbers of this step worked out and noted once its loss is known to be finite."""
        self.looks.append(of)

    def training_step(self, batch: Views) -> Float[Tensor, ""]:
        """The loss of a step; zero, with zero gradients, when it is not finite on every rank."""
        before = {name: buffer.clone() for name, buffer in self.named_buffers()}  # centres, queues, statistics
        self.notes, self.looks = {}, []
        terms = self.losses(batch)
        loss = torch.stack(list(terms.values())).sum()
        self.skipping = not true_everywhere(bool(torch.isfinite(loss)), loss.device)
        if self.skipping:
            with torch.no_grad():
                for name, buffer in self.named_buffers():
                    buffer.copy_(before[name])
            self._count_skipped(terms)
            self.looks.clear()
            return torch.stack([(p * 0.0).sum() for p in self.parameters() if p.requires_grad]).sum()
        self.note(seen_by(self.looks))
        self.looks.clear()  # with the activations that they hold
        self.logged |= {"loss": loss, **{f"loss/{name}": value for name, value in terms.items()}}
        return loss

    def _count_skipped(self, terms: Mapping[str, Tensor]) -> None:
        """One more step without a finite number; raise `FloatingPointError` when there are too many."""
        self.num_skipped += 1
        self.logged["health/skipped_steps"] = self.num_skipped.float()
        if self.num_skipped > self.max_skipped_steps:
            values = ", ".join(f"{name} = {value.item():.4g}" for name, value in terms.items())
            raise FloatingPointError(
                f"step {self.global_step}: {int(self.num_skipped)} steps were not finite (the last one: {values}). "
                "Lower method.lr, raise method.warmup_epochs, or set trainer.precision=32-true; "
                f"method.max_skipped_steps={self.max_skipped_steps} of them are skipped."
            )

    def make_optimizer(self) -> Optimizer:
        """At learning rate 0 until `set_rates`."""
        return make_optimizer(self.optimizer, self, self.sgd_momentum)

    def set_rates(self, optimizer: Optimizer) -> None:
        """Learning rate and weight decay of this step."""
        for group in optimizer.param_groups:
            group["lr"] = float(self.lrs[self.global_step])  # NumPy's floats would not load with weights_only
            if group["decays"]:
                group["weight_decay"] = float(self.weight_decays[self.global_step])

    def clip_gradients(self) -> None:
        """Called when the gradients are unscaled, before the optimiser moves."""
        norm = clip_each(self.parameters(), self.clip_grad)
        finite = bool(torch.isfinite(norm)) or self.scaled
        if not (finite or self.skipping):
            self.skipping = True
            self._count_skipped({"norm of the gradient": norm})
        if self.skipping:
            self.zero_grad(set_to_none=True)
        else:
            self.logged["health/grad_norm"] = norm


def seen_by(looks: Iterable[Look]) -> dict[str, Tensor]:
    """What was looked at; a look that fails (a decomposition that does not converge) leaves a gap in its curve and ends nothing."""
    found: dict[str, Tensor] = {}
    for look in looks:
        try:
            found |= look()
        except (RuntimeError, ArithmeticError, ValueError):
            continue
    return found


def positive(**values: float) -> None:
    """Raise `ValueError` naming the first key whose value is not positive."""
    for key, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"method.{key}: got {value}, expected a positive number")


def within(**limits: tuple[float, float, float]) -> None:
    """Raise `ValueError` naming the first key whose value is not from the least to the most that is given with it."""
    for key, (value, least, most) in limits.items():
        if not least <= value <= most:
            expected = f"at least {least:g}" if most == float("inf") else f"{least:g} to {most:g}"
            raise ValueError(f"method.{key}: got {value}, expected a number of {expected}")


def one_of(key: str, value: str, allowed: Iterable[str]) -> None:
    """Raise `ValueError` naming the key when its value is not one of those allowed."""
    if value not in allowed:
        raise ValueError(f"method.{key}: got {value!r}, expected {' or '.join(allowed)}")


def needs_two_global_views(batch: Batch) -> None:
    """Raise `ValueError` unless a clip has exactly two global views and no local one."""
    if batch.num_globals != 2 or batch.num_locals:
        raise ValueError(
            f"method.views: got {batch.num_globals} global and {batch.num_locals} local views, expected 2 and 0"
        )


def needs_batch_statistics(batch: Batch, module: nn.Module) -> None:
    """Raise `ValueError` when a batch normalisation would see one image."""
    if batch.images < 2 and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules()):
        raise ValueError(f"batch_size={batch.clips}: the head normalises over the batch and needs more than one image")

"""A training that can be interrupted: the same weights come out, however often it was stopped and continued.

`Tuning` is the loop. It is told how the gradients of a step come about: by `Passes` over a step's samples here, by groups of mixed
images in downstream/finetune_training.py. What they draw depends on seed and place alone (downstream/drawing.py).
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from longtake.backbones.finite import NotFinite, check_weights
from longtake.console import progress_bar
from longtake.downstream.drawing import Batch, Budget, seeded
from longtake.downstream.state import read_state, write_state
from longtake.files import whole
from longtake.parallel import collected, is_first, world_size

Gradients = Callable[[int], float]  # of a step, by its number; answers the loss
After = Callable[[int], bool]  # a step; told how many are done, it answers whether to save
LossOf = Callable[[nn.Module, Batch], dict[str, Tensor]]  # terms of a batch, to be added up
TRY = "; a smaller lr may help"
DRAWS = 1  # in the key of what the model draws: something else than the augmentation of the sample at that place


def polynomial(iterations: int, warmup: int, power: float = 1.0, start: float = 1e-6) -> Callable[[int], float]:
    """Factor of the learning rate: linearly from `start` to 1, times the polynomial to 0 (mmengine's PolyLR by iteration)."""

    def factor(iteration: int) -> float:
        rising = start + (1 - start) * min(iteration / max(warmup, 1), 1.0)
        falling = (1 - max(iteration - warmup, 0) / max(iterations - warmup, 1)) ** power
        return rising if iteration < warmup else falling

    return factor


def steps(milestones: Iterable[int], warmup: int, gamma: float = 0.1, start: float = 1e-3) -> Callable[[int], float]:
    """Factor of the learning rate: linearly from `start` to 1, then `gamma` times as much at each milestone."""
    ordered = sorted(milestones)

    def factor(iteration: int) -> float:
        rising = start + (1 - start) * (iteration / warmup) if iteration < warmup else 1.0
        return rising * gamma ** sum(iteration >= milestone for milestone in ordered)

    return factor


@runtime_checkable
class Stateful(Protocol):
    """What a checkpoint can hold: modules and optimisers are so."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


class Tuning:
    """A model in training, which goes on from `checkpoint` where that has the same `identity`.

    `factor` is what the optimiser's rates are multiplied by in a step. `losses` are those of the steps so far; the end of `run`
    leaves them beside the checkpoint, which also holds the state of what is given by name (`more`). Processes that run together
    (parallel.py) see the same files, and the first one writes.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        factor: Callable[[int], float],
        checkpoint: Path,
        identity: str,
        *,
        clip_grad: float | None = None,
        **more: Stateful,
    ) -> None:
        self.model, self.optimizer, self.factor, self.clip_grad = model, optimizer, factor, clip_grad
        self.rates, self.losses = [group["lr"] for group in optimizer.param_groups], list[float]()
        self.checkpoint, self.identity = checkpoint, identity
        self.parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer, **more}
        if (saved := read_state(checkpoint, identity)) is not None:
            self.losses = saved["losses"]
            for name, part in self.parts.items():
                part.load_state_dict(saved[name])

    @property
    def done(self) -> int:
        """Steps."""
        return len(self.losses)

    def run(self, gradients: Gradients, num_steps: int, after: After, title: str = "", progress: bool = False) -> None:
        """Train until `num_steps` are done. `after` is asked after every step; the end is always saved.

        `gradients` leaves those of the step of that number and answers its loss, both of all processes, or raises
        `FloatingPointError`, which is before the weights move. Weights that are not finite are never saved (`NotFinite`).
        """
        with progress_bar(progress and is_first()) as bar:
            task = bar.add_task(title, total=num_steps, completed=self.done)
            while self.done < num_steps:
                self._step(gradients)
                bar.update(task, advance=1, description=f"{title}, loss {self.losses[-1]:.3g}")
                if after(self.done) or self.done == num_steps:
                    check_weights(self.model.state_dict(), f"{title}, step {self.done}", TRY)
                    states = {name: part.state_dict() for name, part in self.parts.items()}
                    write_state(self.checkpoint, self.identity, {"losses": self.losses, **states})
        if is_first():
            write_losses(self.losses, self.checkpoint.with_name(f"{self.checkpoint.stem}_loss.csv"))

    def _step(self, gradients: Gradients) -> None:
        self.model.train()  # it may have been tested in between
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.factor(self.done)
        self.optimizer.zero_grad(set_to_none=True)
        loss = gradients(self.done)
        if self.clip_grad:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_grad)
        self.optimizer.step()
        self.losses.append(loss)


def advice(step: int) -> str:
    """What to do about a loss that is not finite; in the first step the rate has not moved anything."""
    return f"a smaller lr may help.{'' if step else ' So far it is the encoder whose numbers overflow, or the data.'}"


def write_losses(losses: Sequence[float], path: Path) -> None:
    """The loss of every iteration."""
    with whole(path) as part, part.open("w", newline="") as file:
        csv.writer(file).writerows([("step", "loss"), *enumerate(losses)])


class Passes:
    """The gradients of a step: of the mean of `loss_of` over the passes of all processes, each over what is computed at once.

    What the model draws in a pass (dropout, sampled regions) depends on `seed` and the place of the pass's first sample.
    """

    def __init__(self, model: nn.Module, loss_of: LossOf, data: Iterator[Batch], budget: Budget, seed: int = 0) -> None:
        self.model = nn.parallel.DistributedDataParallel(model) if world_size() > 1 else model
        self.loss_of, self.data, self.budget, self.seed = loss_of, data, budget, seed

    def __call__(self, step: int) -> float:
        """The loss. Raises `FloatingPointError`, naming the terms, when it is not finite: in all processes together."""
        everyones = collected([self._pass(next(self.data), place) for place in self.budget.places(step)])
        terms = {name: sum(found[name] for found in everyones) / len(everyones) for name in everyones[0]}
        loss = sum(terms.values())
        if not np.isfinite(loss):
            values = ", ".join(f"{name} {value:.3g}" for name, value in terms.items())
            raise NotFinite(f"iteration {step}: the loss is not finite ({values}); {advice(step)}")
        return loss

    def _pass(self, batch: Batch, place: int) -> dict[str, float]:
        """Add to the gradient; what the loss's terms were."""
        with seeded(self.seed, place, DRAWS):
            if torch.cuda.is_available():
                torch.cuda.manual_seed(torch.initial_seed())
            terms = self.loss_of(self.model, batch)
            values = torch.stack(list(terms.values()))
            (values.sum() / self.budget.accumulate).backward()
        return dict(zip(terms, values.tolist(), strict=True))

"""A training that can be interrupted: the same weights come out, however often it was stopped and continued.

What it draws, samples and what the model itself draws in a pass over some of them (dropout, sampled regions), depends on seed and
place alone (downstream/drawing.py). Files appear whole or not at all.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from longtake.downstream.drawing import Batch, Budget, seeded
from longtake.downstream.state import read_state, write_state
from longtake.files import whole
from longtake.parallel import collected, is_first, world_size

LossOf = Callable[[nn.Module, Batch], dict[str, Tensor]]  # terms of a batch, to be added up
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


class Tuning:
    """A model in training. `factor` gives the learning rates' factor for an iteration; `identity` must agree to continue.

    Processes that run together (parallel.py) train it together; they see the same files, and the first one writes.
    `losses` are those of the iterations so far, of whole batches; the end of `run` leaves them beside the checkpoint.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        factor: Callable[[int], float],
        checkpoint: Path,
        identity: str,
        *,
        seed: int = 0,
        clip_grad: float | None = None,
    ) -> None:
        self.model, self.optimizer, self.factor, self.clip_grad = model, optimizer, factor, clip_grad
        self.seed, self.losses = seed, list[float]()
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.checkpoint, self.identity = checkpoint, identity
        self._resume()

    @property
    def done(self) -> int:
        """Iterations."""
        return len(self.losses)

    def run(self, loss_of: LossOf, data: Iterator[Batch], budget: Budget, advance: Callable[[float], object]) -> None:
        """Train until the budget is spent. Raises `FloatingPointError`, naming the terms, when the loss is not finite.

        `advance` is told the loss of every iteration. Several processes receive the same losses and fail together.
        """
        model = nn.parallel.DistributedDataParallel(self.model) if world_size() > 1 else self.model
        self.model.train()
        while self.done < budget.iterations:
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * self.factor(self.done)
            self.optimizer.zero_grad(set_to_none=True)
            loss = self._mean(
                [self._pass(model, loss_of, next(data), place, budget) for place in budget.places(self.done)]
            )
            if self.clip_grad:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_grad)
            self.optimizer.step()
            self.losses.append(loss)
            advance(loss)
            if self.done % budget.save_every == 0 or self.done == budget.iterations:
                self._save()
        if is_first():
            write_losses(self.losses, self.checkpoint.with_name(f"{self.checkpoint.stem}_loss.csv"))

    def _pass(self, model: nn.Module, loss_of: LossOf, batch: Batch, place: int, budget: Budget) -> dict[str, float]:
        """Add to the gradient; what the loss's terms were."""
        with seeded(self.seed, place, DRAWS):
            if torch.cuda.is_available():
                torch.cuda.manual_seed(torch.initial_seed())
            terms = loss_of(model, batch)
            values = torch.stack(list(terms.values()))
            (values.sum() / budget.accumulate).backward()
        return dict(zip(terms, values.tolist(), strict=True))

    def _mean(self, passes: list[dict[str, float]]) -> float:
        """The loss of an iteration, from the terms of every pass of every process."""
        everyones = collected(passes)
        terms = {name: sum(found[name] for found in everyones) / len(everyones) for name in everyones[0]}
        loss = sum(terms.values())
        if not np.isfinite(loss):
            values = ", ".join(f"{name} {value:.3g}" for name, value in terms.items())
            raise FloatingPointError(
                f"iteration {self.done}: the loss is not finite ({values}); a smaller lr may help."
            )
        return loss

    def _save(self) -> None:
        content = {
            "losses": self.losses, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip
        write_state(self.checkpoint, self.identity, content)

    def _resume(self) -> None:
        """Take over the state of an earlier training of the same identity."""
        saved = read_state(self.checkpoint, self.identity)
        if saved is not None:
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.losses = saved["losses"]


def write_losses(losses: Sequence[float], path: Path) -> None:
    """The loss of every iteration."""
    with whole(path) as part, part.open("w", newline="") as file:
        csv.writer(file).writerows([("step", "loss"), *enumerate(losses)])

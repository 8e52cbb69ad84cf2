"""A training that can be interrupted: the same weights come out, however often it was stopped and continued.

Batches are drawn from (seed, iteration) alone, so that a continued training goes on with the batch that would have come next and
reads nothing twice. What the model itself draws (dropout, sampled regions) comes from torch's generators, which are kept beside
the weights. Files appear whole or not at all.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from longtake.downstream.sharing import processes
from longtake.downstream.state import read_state, write_state

Batch = Any
LossOf = Callable[[nn.Module, Batch], dict[str, Tensor]]  # terms of a batch, to be added up


class Budget(NamedTuple):
    """How long and how: `batch_size` images a step on all devices together, `at_once` of them at a time on each."""

    iterations: int
    batch_size: int
    at_once: int
    save_every: int = 500  # iterations between two checkpoints

    @property
    def accumulate(self) -> int:
        """Passes of each process before the weights move. Raises `ValueError` when the batch cannot be made of whole passes."""
        if self.batch_size % (self.at_once * processes()):
            raise ValueError(
                f"batch_size={self.batch_size}: expected a multiple of images_at_once={self.at_once} times {processes()} "
                "process(es)"
            )
        return self.batch_size // (self.at_once * processes())


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
        rising = start + (1 - start) * min(iteration / max(warmup, 1), 1.0)
        return rising * gamma ** sum(iteration >= milestone for milestone in ordered)

    return factor


class Drawn(Dataset):
    """Samples whose augmentation depends on (seed, place in the training) alone; asked for by (place, index)."""

    def __init__(self, samples: Any, seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __getitem__(self, where: tuple[int, int]) -> Any:
        place, index = where
        with seeded(self.seed, place):
            return self.samples[index]


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """The generators of Python, NumPy and torch (CPU) seeded by `key` inside the block, and put back as they were after it."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - mm* draws from it
    number = int(np.random.SeedSequence(key).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002
    torch.default_generator.manual_seed(number)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


@dataclass(frozen=True)
class Places:
    """(place, index) of this process's samples, from `start` to `stop`: one shuffled pass over all samples after another."""

    num_samples: int
    seed: int
    start: int
    stop: int
    at_once: int  # neighbours that go to the same process

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order, epoch = np.empty(0, int), -1
        rank = dist.get_rank() if processes() > 1 else 0
        for place in range(self.start, self.stop):
            if place // self.num_samples != epoch:
                epoch = place // self.num_samples
                order = np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
            if place // self.at_once % processes() == rank:
                yield place, int(order[place % self.num_samples])


def batches(
    samples: Any, budget: Budget, seed: int, done: int, collate: Callable | None = None, num_workers: int = 0
) -> Iterator[Batch]:
    """Batches of `budget.at_once` samples for this process, from iteration `done` on."""
    start, stop = (iteration * budget.batch_size for iteration in (done, budget.iterations))
    mine: Any = Places(len(samples), seed, start, stop, budget.at_once)
    own = torch.Generator().manual_seed(seed)  # a loader draws a number when it starts: not from the model's generator
    loader = DataLoader(
        Drawn(samples, seed), budget.at_once, sampler=mine, num_workers=num_workers, collate_fn=collate, generator=own
    )
    return iter(loader)


class Tuning:
    """A model in training. `factor` gives the learning rates' factor for an iteration; `identity` must agree to continue."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        factor: Callable[[int], float],
        checkpoint: Path,
        identity: str,
        *,
        clip_grad: float | None = None,
        autocast: AbstractContextManager | None = None,
    ) -> None:
        self.model, self.optimizer, self.factor, self.clip_grad = model, optimizer, factor, clip_grad
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.checkpoint, self.identity, self.autocast = checkpoint, identity, autocast or nullcontext()
        self.done = self._resume()

    def run(self, loss_of: LossOf, data: Iterator[Batch], budget: Budget, advance: Callable[[float], object]) -> None:
        """Train until the budget is spent. Raises `FloatingPointError`, naming the terms, when the loss is not finite."""
        model = nn.parallel.DistributedDataParallel(self.model) if processes() > 1 else self.model
        self.model.train()
        while self.done < budget.iterations:
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * self.factor(self.done)
            self.optimizer.zero_grad(set_to_none=True)
            loss = sum(self._backward(model, loss_of, next(data), budget.accumulate) for _ in range(budget.accumulate))
            if self.clip_grad:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_grad)
            self.optimizer.step()
            self.done += 1
            advance(loss)
            if self.done % budget.save_every == 0 or self.done == budget.iterations:
                self._save()

    def _backward(self, model: nn.Module, loss_of: LossOf, batch: Batch, accumulate: int) -> float:
        with self.autocast:
            terms = loss_of(model, batch)
            loss = torch.stack([term.float() for term in terms.values()]).sum() / accumulate
        value = loss.item()
        if not np.isfinite(value):
            values = ", ".join(f"{name} {float(term):.3g}" for name, term in terms.items())
            raise FloatingPointError(
                f"iteration {self.done}: the loss is not finite ({values}); a smaller lr may help."
            )
        loss.backward()
        return value

    def _save(self) -> None:
        devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        content = {
            "done": self.done, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "generator": torch.get_rng_state(), "generators": devices,
        }  # fmt: skip
        write_state(self.checkpoint, self.identity, content)

    def _resume(self) -> int:
        """Iterations done by an earlier training of the same identity, whose state is taken over."""
        saved = read_state(self.checkpoint, self.identity)
        if saved is None:
            return 0
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["generator"])
        if saved["generators"] and len(saved["generators"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(saved["generators"])
        return saved["done"]

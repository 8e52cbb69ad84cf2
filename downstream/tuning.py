"""A training that can be interrupted: the same weights come out, however often it was stopped and continued.

Every sample has a place in the training, counted from its beginning. Samples, and what the model itself draws in a pass over some
of them (dropout, sampled regions), depend on (seed, place) alone: a continued training goes on with the batch that would have come
next, and processes that share a training draw what one process with as many passes would. Files appear whole or not at all.
"""

import csv
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from longtake.downstream.sharing import collected, is_first, processes, rank
from longtake.downstream.state import read_state, write_state

Batch = Any
LossOf = Callable[[nn.Module, Batch], dict[str, Tensor]]  # terms of a batch, to be added up
DRAWS = 1  # in the key of what the model draws: something else than the augmentation of the sample at that place


class Budget(NamedTuple):
    """How long and how: `batch_size` images a step on all devices together, `at_once` of them at a time on each."""

    iterations: int
    batch_size: int
    at_once: int
    save_every: int = 500  # iterations between two checkpoints

    @property
    def accumulate(self) -> int:
        """Passes of each process before the weights move."""
        return self.batch_size // (self.at_once * processes())

    def places(self, iteration: int) -> range:
        """Where this process's passes of an iteration begin."""
        first, step = iteration * self.batch_size, self.at_once * processes()
        return range(first + rank() * self.at_once, first + self.accumulate * step, step)


def at_once(train_batch_size: int, batch_size: int | None, count: int) -> int:
    """Images of a pass on each of `count` processes: `batch_size`, or fewer where a step has no more (None: all of its part).

    Raises `ValueError` when a step cannot be made of whole passes.
    """
    part = max(1, train_batch_size // count)
    found = min(batch_size or part, part)
    if found < 1 or train_batch_size % (found * count):
        raise ValueError(
            f"train_batch_size={train_batch_size}: expected a multiple of batch_size={found} times {count} process(es)"
        )
    return found


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

    num_samples: int | None  # None: there is one for every place, and it is its index
    seed: int
    start: int
    stop: int
    at_once: int  # neighbours that go to the same process

    def __iter__(self) -> Iterator[tuple[int, int]]:
        mine = (p for p in range(self.start, self.stop) if p // self.at_once % processes() == rank())
        if self.num_samples is None:
            yield from ((place, place) for place in mine)
            return
        order, epoch = np.empty(0, int), -1
        for place in mine:
            if place // self.num_samples != epoch:
                epoch = place // self.num_samples
                order = np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
            yield place, int(order[place % self.num_samples])


def batches(
    samples: Any,
    budget: Budget,
    seed: int,
    done: int,
    collate: Callable | None = None,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Batches of `budget.at_once` samples for this process, from iteration `done` on.

    Samples without a length are drawn by number, the place in the training; others once in each pass over them.
    """
    start, stop = (iteration * budget.batch_size for iteration in (done, budget.iterations))
    mine: Any = Places(len(samples) if hasattr(samples, "__len__") else None, seed, start, stop, budget.at_once)
    own = torch.Generator().manual_seed(seed)  # a loader draws a number when it starts: not from the model's generator
    loader = DataLoader(
        Drawn(samples, seed), budget.at_once, sampler=mine, num_workers=num_workers, collate_fn=collate, generator=own,
        pin_memory=pin_memory,
    )  # fmt: skip
    return iter(loader)


class Tuning:
    """A model in training. `factor` gives the learning rates' factor for an iteration; `identity` must agree to continue.

    Processes that run together (downstream/sharing.py) train it together; they see the same files, and the first one writes.
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
        autocast: AbstractContextManager | None = None,
    ) -> None:
        self.model, self.optimizer, self.factor, self.clip_grad = model, optimizer, factor, clip_grad
        self.seed, self.losses = seed, list[float]()
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.checkpoint, self.identity, self.autocast = checkpoint, identity, autocast or nullcontext()
        self._resume()

    @property
    def done(self) -> int:
        """Iterations."""
        return len(self.losses)

    def run(self, loss_of: LossOf, data: Iterator[Batch], budget: Budget, advance: Callable[[float], object]) -> None:
        """Train until the budget is spent. Raises `FloatingPointError`, naming the terms, when the loss is not finite.

        `advance` is told the loss of every iteration. Several processes receive the same losses and fail together.
        """
        model = nn.parallel.DistributedDataParallel(self.model) if processes() > 1 else self.model
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
            with self.autocast:
                terms = loss_of(model, batch)
                values = torch.stack([term.float() for term in terms.values()])
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
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        csv.writer(file).writerows([("step", "loss"), *enumerate(losses)])
    os.replace(part, path)

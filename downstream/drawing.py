"""Draw a training's samples, and what is random about them, from its seed and the place in the training alone.

Every sample has a place in the training, counted from its beginning. A continued training goes on with the batch that would have
come next, and processes that share a training draw what one process with as many passes would.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from longtake.datasets.draws import drawn_from
from longtake.parallel import rank, world_size

Batch = Any


class Budget(NamedTuple):
    """The length and batches of a training: `batch_size` images a step on all devices together, `at_once` at a time on each."""

    iterations: int
    batch_size: int
    at_once: int
    save_every: int = 500  # iterations between two checkpoints

    @property
    def accumulate(self) -> int:
        """Passes of each process before the weights move."""
        return self.batch_size // (self.at_once * world_size())

    def places(self, iteration: int) -> range:
        """Where this process's passes of an iteration begin."""
        first, step = iteration * self.batch_size, self.at_once * world_size()
        return range(first + rank() * self.at_once, first + self.accumulate * step, step)

    def save_due(self, done: int) -> bool:
        """Whether a checkpoint is written after so many iterations."""
        return done % self.save_every == 0


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


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """The global generators of Python, numpy and torch (CPU) seeded by `key` inside the block, and put back after it."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - timm and mm* draw from it
    seed = int(np.random.SeedSequence(key).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        with drawn_from(*key):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


class Drawn(Dataset):
    """Samples whose augmentation depends on (seed, place in the training) alone; asked for by (place, index)."""

    def __init__(self, samples: Any, seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __getitem__(self, where: tuple[int, int]) -> Any:
        place, index = where
        with seeded(self.seed, place):
            return self.samples[index]


@dataclass(frozen=True)
class Places:
    """(place, index) of this process's samples, from `start` to `stop`: one shuffled pass over all samples after another."""

    num_samples: int | None  # None: there is one for every place, and it is its index
    seed: int
    start: int
    stop: int
    at_once: int  # neighbours that go to the same process

    def __iter__(self) -> Iterator[tuple[int, int]]:
        mine = (p for p in range(self.start, self.stop) if p // self.at_once % world_size() == rank())
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

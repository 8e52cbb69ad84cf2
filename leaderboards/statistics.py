"""Say how far a score can be trusted: bootstrap intervals of a mean over test items, and of a paired difference.

Percentile bootstrap: B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979).

The intervals say how much a score would move with *another draw of test items*. They know nothing of the training seed. Items
that come in groups (objects of one video) are not independent: then whole groups are drawn (Davison and Hinkley, "Bootstrap
methods and their application", 1997, section 3.8), and the score remains the mean over the items.

    n  test items        draws  bootstrap resamples of the n items        outcome  what one item contributes, 0 to 1
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real, Shaped

Outcomes = Real[np.ndarray, "n"] | Bool[np.ndarray, "n"]
FEWEST = 6  # 2^(1 - 6) = 3 %
FEW_VALUES = 8  # distinct outcomes; 0/1 has two, the difference of two 0/1 has three
RESAMPLED_AT_ONCE = 4_000_000  # items drawn in one block otherwise: 32 MB of indices


class Estimate(NamedTuple):
    """A score in per cent with its interval; a number read from a paper has no interval."""

    value: float
    low: float | None = None
    high: float | None = None


class Difference(NamedTuple):
    """First minus second encoder over the same `num_items` items, in percentage points."""

    value: float
    low: float
    high: float
    level: float
    num_items: int
    num_groups: int | None = None  # where items come in groups

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero, and there are enough items (groups) for that to mean something."""
        return not self.too_few and not self.low <= 0 <= self.high

    @property
    def too_few(self) -> bool:
        """Fewer items than a sign test at 5 % needs: even when all say the same, it may be chance."""
        return (self.num_groups or self.num_items) < FEWEST


def interval(
    outcomes: Outcomes,
    groups: Shaped[np.ndarray, "n"] | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 10_000,
) -> Estimate:
    """Mean of `outcomes` in per cent and its percentile-bootstrap interval, the same for the same `seed`.

    `groups` names the group of each item; None: each is on its own.

    The test simulates its coverage with 0/1 outcomes: 93-97 % at the nominal 95 % for 1200 items and accuracies of 10,
    41 and 90 %. It is too narrow where a few items decide: outcomes that are all equal give an interval of zero width.

    Raises:
        ValueError: no outcomes, or one that is not finite.
    """
    low, high = _percentiles(outcomes, groups, level, seed, draws)
    return Estimate(100 * float(outcomes.mean()), low, high)


def paired_difference(
    first: Outcomes,
    second: Outcomes,
    groups: Shaped[np.ndarray, "n"] | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 10_000,
) -> Difference:
    """Interval of mean(first - second) in percentage points: entry i of both belongs to the same item.

    Resampling the items keeps the pairs together, so what makes an item hard for both encoders cancels.

    Raises:
        ValueError: no outcomes, or one that is not finite.
    """
    assert first.shape == second.shape, f"no pairs: {first.shape} and {second.shape}"
    differences = first.astype(np.float64) - second.astype(np.float64)
    low, high = _percentiles(differences, groups, level, seed, draws)
    num_groups = None if groups is None else len(np.unique(groups))
    return Difference(100 * float(differences.mean()), low, high, level, len(differences), num_groups)


def bootstrap_means(
    outcomes: Outcomes, draws: int, rng: np.random.Generator, groups: Shaped[np.ndarray, "n"] | None = None
) -> Float[np.ndarray, "draws"]:
    """Means of `draws` resamples, with replacement, of the n outcomes; with `groups` of all outcomes of the drawn groups.

    Raises:
        ValueError: no outcomes, or one that is not finite.
    """
    outcomes = outcomes.astype(np.float64)
    n = len(outcomes)
    if n == 0 or not np.isfinite(outcomes).all():
        raise ValueError(f"got {n} outcomes, {np.isfinite(outcomes).sum()} of them finite; expected finite numbers")
    if groups is not None:
        _, number = np.unique(groups, return_inverse=True)
        sums, sizes = np.bincount(number, outcomes), np.bincount(number)
        drawn = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=draws)  # how often each group
        return (drawn @ sums) / (drawn @ sizes)
    values, counts = np.unique(outcomes, return_counts=True)
    if len(values) <= FEW_VALUES:
        # How often each value is resampled is multinomial: the cost does not grow with the number of items.
        return rng.multinomial(n, counts / n, size=draws) @ values / n
    means = np.empty(draws)
    block = max(1, RESAMPLED_AT_ONCE // n)
    for start in range(0, draws, block):
        stop = min(start + block, draws)
        means[start:stop] = outcomes[rng.integers(n, size=(stop - start, n))].mean(axis=1)
    return means


def _percentiles(
    outcomes: Outcomes, groups: Shaped[np.ndarray, "n"] | None, level: float, seed: int, draws: int
) -> tuple[float, float]:
    """The middle `level` of the bootstrap means, in per cent."""
    means = bootstrap_means(outcomes, draws, np.random.default_rng(seed), groups)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return 100 * float(low), 100 * float(high)

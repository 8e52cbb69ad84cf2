"""Scores over training seeds: what a method achieves with *another seed and another draw of test items*.

Seeds and items are crossed: every encoder is tested on the same items. An outcome is taken apart as mean + seed + item + rest, all
random, as readers and cases are in radiology (N. A. Obuchowski and H. E. Rockette, Communications in Statistics 24, 1995; C. A. Roe
and C. E. Metz, Academic Radiology 4, 1997); the variance of the mean then is

    V = var(seeds' means) / s  +  var(items' means) / n  -  var(rest) / (s n)

in which the rest counts once and not twice. Degrees of freedom are Satterthwaite's (Biometrics Bulletin 2, 1946), in a difference
Welch's (Biometrika 34, 1947): two methods share the items, but no seed, and what makes an item hard for both cancels.

Two seeds have one degree of freedom, and where chance makes them agree, Satterthwaite's estimate is far too sure: rankings look
at just those pairs (six equal methods of the ranking's test: a wrong verdict in 12 % of the worlds). Their p-value is therefore
that of Banerjee's interval (Sankhya 22, 1960), whose squared reach is the sum of t^2 x variance over the terms, each with its own
degrees of freedom: never too small, for the price that two seeds tell few methods from one another.

    s  seeds      n  test items      g  groups of items (objects of one video) that are not independent: they are drawn as a whole
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from longtake.leaderboards.statistics import FEWEST

Outcomes = Float[np.ndarray, "_ n"]  # seeds, items
Groups = Shaped[np.ndarray, "n"] | None
LEAST_P = 1e-100  # smaller p-values are not told apart


class Pooled(NamedTuple):
    """A method's score in per cent over its seeds, with its interval. One seed: the interval knows of the items alone."""

    value: float
    low: float
    high: float
    seeds_std: float | None  # standard deviation of the seeds' scores; None for one seed
    num_seeds: int
    df: float


class Contrast(NamedTuple):
    """First minus second method in percentage points, with its interval and the two-sided p-value of no difference.

    With two seeds the p-value asks for more than the interval: verdicts go by it.
    """

    value: float
    low: float
    high: float
    p: float
    df: float
    num_items: int  # groups, where items come in groups

    @property
    def too_few(self) -> bool:
        return self.num_items < FEWEST


class Part(NamedTuple):
    """A term of a variance, with its sign, and its degrees of freedom."""

    variance: float
    df: float


def pooled(outcomes: Outcomes, groups: Groups = None, *, level: float = 0.95) -> Pooled:
    """Mean over seeds and items. `outcomes` is what each item contributes for each seed, from 0 to 1 (a decay from -1), and so is
    the interval: two seeds that differ have one degree of freedom, by which it would reach beyond.

    Raises `ValueError` for outcomes that are none or not finite.
    """
    units = in_groups(outcomes, groups)
    low, high, df, _ = _t(float(units.mean()), _parts(units), level)
    low, high = max(low, -1.0 if outcomes.min() < 0 else 0.0), min(high, 1.0)
    scores = 100 * units.mean(1)
    std = float(scores.std(ddof=1)) if len(scores) > 1 else None
    return Pooled(100 * float(units.mean()), 100 * low, 100 * high, std, len(scores), df)


def contrast(first: Outcomes, second: Outcomes, groups: Groups = None, *, level: float = 0.95) -> Contrast:
    """First minus second method on the same items, each with seeds of its own (their numbers may differ).

    Raises `ValueError` for outcomes that are none or not finite.
    """
    a, b = in_groups(first, groups), in_groups(second, groups)
    assert a.shape[1] == b.shape[1], f"not the same items: {first.shape} and {second.shape}"
    value = float(a.mean() - b.mean())
    shared = _variance(a.mean(0) - b.mean(0))
    parts = [shared, *_of_seeds(a), *_of_seeds(b)]
    low, high, df, p = _t(value, parts, level)
    return Contrast(100 * value, 100 * low, 100 * high, p, df, a.shape[1])


def in_groups(outcomes: Outcomes, groups: Groups) -> Float[np.ndarray, "s g"]:
    """Independent units with the same mean: the items, or for each group the mean and what its items add to it (linearised)."""
    outcomes = outcomes.astype(np.float64)
    if outcomes.ndim != 2 or not outcomes.size or not np.isfinite(outcomes).all():
        raise ValueError(f"got outcomes of shape {outcomes.shape}, expected finite numbers (seeds, items)")
    if groups is None:
        return outcomes
    _, number = np.unique(groups, return_inverse=True)
    count, n = int(number.max()) + 1, outcomes.shape[1]
    means = outcomes.mean(1, keepdims=True)
    deviations = np.stack([np.bincount(number, row, count) for row in outcomes - means])
    return means + deviations * count / n


def _parts(units: Float[np.ndarray, "s g"]) -> list[Part]:
    return [_variance(units.mean(0)), *_of_seeds(units)]


def _of_seeds(units: Float[np.ndarray, "s g"]) -> list[Part]:
    """Return what seeds add to the variance of the mean, and the rest that the items' part has counted already."""
    s, n = units.shape
    if s == 1:
        return []
    means = units.mean(1)
    rest = units - means[:, None] - units.mean(0) + units.mean()
    df = (s - 1) * max(n - 1, 1)
    return [_variance(means), Part(-float((rest**2).sum()) / df / (s * n), df)]


def _variance(values: Float[np.ndarray, "k"]) -> Part:
    """Return the variance of the mean of independent values."""
    k = len(values)
    return Part(float(values.var(ddof=1)) / k if k > 1 else 0.0, max(k - 1, 1))


def _t(value: float, parts: list[Part], level: float) -> tuple[float, float, float, float]:
    """Interval, degrees of freedom, two-sided p-value of a mean whose variance is the sum of `parts`.

    The negative part may outweigh what chance left of the others: the variance is never less than the largest of them.
    """
    from scipy import stats

    variance = max(sum(part.variance for part in parts), max(part.variance for part in parts))
    if variance <= 0:
        return value, value, float("inf"), 1.0 if value == 0 else 0.0
    df = variance**2 / sum(part.variance**2 / part.df for part in parts)
    error = variance**0.5
    reach = float(stats.t.ppf(0.5 + level / 2, df)) * error
    two_seeds = len(parts) > 1 and min(part.df for part in parts) == 1
    p = _banerjee(abs(value), parts) if two_seeds else 2 * float(stats.t.sf(abs(value) / error, df))
    return value - reach, value + reach, df, p


def _banerjee(distance: float, parts: list[Part]) -> float:
    """The p at which Banerjee's interval just reaches as far as `distance`."""
    from scipy.optimize import brentq
    from scipy.special import stdtrit

    variances, df = np.array(parts).T

    def beyond(logarithm: float) -> float:
        squares = stdtrit(df, np.exp(logarithm) / 2) ** 2 * variances
        return float(max(squares.sum(), squares.max())) ** 0.5 - distance

    if distance == 0 or beyond(np.log(LEAST_P)) <= 0:
        return 1.0 if distance == 0 else LEAST_P
    return float(np.exp(brentq(beyond, np.log(LEAST_P), 0.0)))

"""Say who is better than whom when all pairs of a leaderboard are compared at once.

Holm's correction (Scandinavian Journal of Statistics 6, 1979) keeps the probability of *any* wrong verdict below the level.
Methods that share a letter are statistically tied (H.-P. Piepho, Journal of Computational and Graphical Statistics 13, 2004). A
method's rank lies between 1 + those that are significantly better and m - those that are significantly worse, for all m methods
at once (D. Al Mohamad, J. J. Goeman, E. W. van Zwet, Biometrics 78, 2022).
"""

import string
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from longtake.leaderboards.aggregate import Contrast, Groups, Outcomes, Pooled, contrast, pooled


class RankedMethod(NamedTuple):
    """A method among others, by one metric."""

    name: str
    score: Pooled
    letters: str  # shared with whom it is tied
    best_rank: int
    worst_rank: int


class Pair(NamedTuple):
    """Two methods, the better one first."""

    better: str
    worse: str
    contrast: Contrast
    p_holm: float
    significant: bool


def standings(
    outcomes: Mapping[str, Outcomes], groups: Groups = None, *, level: float = 0.95, lower_is_better: bool = False
) -> tuple[list[RankedMethod], list[Pair]]:
    """Methods from best to worst, and all pairs of them. `outcomes` has for each name an array (seeds, items), the same items.

    Raises `ValueError` for outcomes that are none or not finite.
    """
    scores = {name: pooled(values, groups, level=level) for name, values in outcomes.items()}
    names = sorted(scores, key=lambda name: scores[name].value, reverse=not lower_is_better)
    compared = {(a, b): contrast(outcomes[a], outcomes[b], groups, level=level) for a, b in combinations(names, 2)}
    adjusted = holm({pair: found.p for pair, found in compared.items()})
    pairs = [
        Pair(*pair, found, adjusted[pair], adjusted[pair] <= 1 - level and not found.too_few)
        for pair, found in compared.items()
    ]
    different = {(pair.better, pair.worse) for pair in pairs if pair.significant}
    shared = letters(names, different)
    return [
        RankedMethod(
            name, scores[name], shared[name],
            1 + sum(worse == name for _, worse in different),
            len(names) - sum(better == name for better, _ in different),
        )
        for name in names
    ], pairs  # fmt: skip


def holm(p_values: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """Each p-value as it counts among all of them."""
    adjusted, largest = {}, 0.0
    for done, (pair, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - done)))
        adjusted[pair] = largest
    return adjusted


def letters(names: Sequence[str], different: set[tuple[str, str]]) -> dict[str, str]:
    """Give each name its letters: two names share one exactly when they are not in `different` (in either order).

    `names` go from best to worst, and so do the letters. Insertion and absorption: a group with two that differ is split
    into the one without the first and the one without the second, and groups within another are dropped.
    """
    groups = [frozenset(names)]
    for a, b in different:
        split = [part for group in groups for part in ((group - {a}, group - {b}) if {a, b} <= group else (group,))]
        groups = [
            group
            for i, group in enumerate(split)
            if not any(group < other for other in split) and group not in split[:i]
        ]
    order = {name: i for i, name in enumerate(names)}
    groups.sort(key=lambda group: sorted(order[name] for name in group))
    return {name: "".join(_letter(i) for i, group in enumerate(groups) if name in group) for name in names}


def _letter(number: int) -> str:
    """a to z, A to Z, then Greek: enough for 76 groups."""
    alphabet = string.ascii_letters + "αβγδεζηθικλμνξοπρστυφχψω"
    return alphabet[number % len(alphabet)]

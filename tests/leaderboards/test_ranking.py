"""Ties and ranks: textbook cases, and the promise of the letters on random ones."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.leaderboards.ranking import holm, letters, standings

NAMES = ("a", "b", "c", "d", "e")
PAIRS = list(combinations(NAMES, 2))


def test_holm_steps_down() -> None:
    # The example of R's p.adjust: 0.01 x 3, 0.02 x 2, 0.03 x 1, never below the one before.
    p = {("a", "b"): 0.02, ("a", "c"): 0.01, ("b", "c"): 0.03}
    assert holm(p) == pytest.approx({("a", "c"): 0.03, ("a", "b"): 0.04, ("b", "c"): 0.04})
    assert holm({("a", "b"): 0.9, ("a", "c"): 0.8}) == {("a", "c"): 1.0, ("a", "b"): 1.0}


def test_letters_of_a_chain_overlap() -> None:
    # Neighbours are tied, the ends differ.
    assert letters("abc", {("a", "c")}) == {"a": "a", "b": "ab", "c": "b"}
    assert letters("abc", set()) == {"a": "a", "b": "a", "c": "a"}
    assert letters("abc", {("a", "b"), ("a", "c"), ("b", "c")}) == {"a": "a", "b": "b", "c": "c"}


@given(st.sets(st.sampled_from(PAIRS)))
def test_two_share_a_letter_exactly_when_they_are_tied(different: set[tuple[str, str]]) -> None:
    found = letters(NAMES, different)
    assert all(found.values())
    for a, b in PAIRS:
        assert bool(set(found[a]) & set(found[b])) == ((a, b) not in different)


def shifted(shift: float, seeds: int = 3) -> np.ndarray:
    rng = np.random.default_rng(round(1000 * shift))
    item = np.random.default_rng(0).normal(0.4, 0.15, 500)
    return item + shift + rng.normal(0, 0.01, (seeds, 1)) + rng.normal(0, 0.1, (seeds, 500))


def test_standings_go_from_best_to_worst() -> None:
    order, pairs = standings({"low": shifted(0.0), "best": shifted(0.2), "tied": shifted(0.205)})
    assert [s.name for s in order][2] == "low"
    assert {s.name: s.letters for s in order} == {"best": "a", "tied": "a", "low": "b"}
    assert {(s.best_rank, s.worst_rank) for s in order[:2]} == {(1, 2)}
    assert (order[2].best_rank, order[2].worst_rank) == (3, 3)
    assert len(pairs) == 3
    assert sum(pair.significant for pair in pairs) == 2
    assert all(pair.contrast.value > 0 for pair in pairs)


def test_lower_may_be_better() -> None:
    order, pairs = standings({"high": shifted(0.2), "low": shifted(0.0)}, lower_is_better=True)
    assert [s.name for s in order] == ["low", "high"]
    assert pairs[0].better == "low"
    assert pairs[0].contrast.value < 0


def test_too_few_items_prove_nothing() -> None:
    _, (pair,) = standings({"a": np.full((2, 5), 0.9), "b": np.linspace(0, 0.1, 10).reshape(2, 5)})
    assert pair.p_holm < 0.05
    assert not pair.significant


@pytest.mark.parametrize(("worlds", "seeds", "items", "spread"), [(400, 3, 150, 0.02), (200, 2, 600, 0.04)])
def test_no_method_is_wrongly_better_more_often_than_promised(
    worlds: int, seeds: int, items: int, spread: float
) -> None:
    """Six equal methods: any verdict is wrong, and at most 5 % of the worlds may have one (three sigmas on top)."""
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(worlds):
        item = rng.normal(0.5, 0.2, items)
        outcomes = {
            name: item + rng.normal(0, spread, (seeds, 1)) + rng.normal(0, 0.2, (seeds, items))
            for name in (*NAMES, "f")
        }
        wrong += any(pair.significant for pair in standings(outcomes)[1])
    assert wrong / worlds <= 0.05 + 3 * (0.05 * 0.95 / worlds) ** 0.5

"""Known answers, and the coverage that the docstring of `interval` claims."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from longtake.leaderboards import statistics
from longtake.leaderboards.statistics import bootstrap_means, interval, paired_difference


def test_interval_of_hits_is_the_binomial_quantile() -> None:
    # The bootstrap distribution of the mean of 0/1 outcomes *is* Binomial(n, p) / n: the limit of many draws.
    outcomes = np.arange(1200) < 492
    value, low, high = interval(outcomes, draws=200_000)
    assert value == pytest.approx(41.0)
    expected = 100 * binom.ppf([0.025, 0.975], 1200, 0.41) / 1200
    np.testing.assert_allclose([low, high], expected, atol=100 / 1200)  # one item


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_interval_of_many_continuous_outcomes_is_the_normal_one(level: float) -> None:
    outcomes = np.random.default_rng(1).beta(2, 3, size=2000)
    value, low, high = interval(outcomes, level=level, draws=20_000)
    margin = norm.ppf((1 + level) / 2) * outcomes.std() / np.sqrt(2000)
    assert value == pytest.approx(100 * outcomes.mean())
    expected = 100 * (outcomes.mean() + np.array([-margin, margin]))
    np.testing.assert_allclose([low, high], expected, atol=100 * 0.05 * margin)


def test_both_ways_of_resampling_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = np.random.default_rng(2).integers(0, 3, size=400) / 2
    counted = bootstrap_means(outcomes, 20_000, np.random.default_rng(0))
    monkeypatch.setattr(statistics, "FEW_VALUES", 0)
    monkeypatch.setattr(statistics, "RESAMPLED_AT_ONCE", 400 * 999)  # blocks that do not divide the draws
    picked = bootstrap_means(outcomes, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(counted.mean(), picked.mean(), atol=1e-3)
    np.testing.assert_allclose(counted.std(), picked.std(), rtol=0.03)
    np.testing.assert_allclose(picked.std(), outcomes.std() / np.sqrt(400), rtol=0.03)


def test_interval_depends_on_the_seed_alone() -> None:
    outcomes = np.random.default_rng(3).random(300)
    assert interval(outcomes, seed=5) == interval(outcomes, seed=5)
    assert interval(outcomes, seed=5) != interval(outcomes, seed=6)


@pytest.mark.parametrize(("outcome", "value"), [(True, 100.0), (False, 0.0)])
def test_equal_outcomes_have_an_interval_of_zero_width(outcome: bool, value: float) -> None:
    assert interval(np.full(50, outcome)) == (value, value, value)


@pytest.mark.parametrize("outcomes", [np.zeros(0), np.array([0.5, np.nan])])
def test_no_interval_without_finite_outcomes(outcomes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected finite numbers"):
        interval(outcomes)


@pytest.mark.parametrize("accuracy", [0.1, 0.41, 0.9])
def test_interval_covers_the_true_accuracy_at_its_level(accuracy: float) -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for trial in range(2000):
        _, low, high = interval(rng.random(1200) < accuracy, seed=trial, draws=1000)
        assert low is not None
        assert high is not None
        hits += low <= 100 * accuracy <= high
    assert 0.93 < hits / 2000 < 0.97


def test_paired_difference_covers_the_true_difference_at_its_level() -> None:
    # Items of very different difficulty, seen by both encoders; the second is 3 points better on each.
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(1000):
        difficulty = rng.uniform(0, 0.97, size=1000)
        common = rng.random(1000)
        difference = paired_difference(common < difficulty + 0.03, common < difficulty, seed=trial, draws=1000)
        hits += difference.low <= 3 <= difference.high
    assert 0.93 < hits / 1000 < 0.97


def test_pairing_finds_what_two_intervals_cannot() -> None:
    rng = np.random.default_rng(6)
    second = rng.random(1200) < 0.5
    first = second.copy()
    first[np.flatnonzero(~second)[:24]] = True  # 24 items more, none lost: 2 points
    difference = paired_difference(first, second)
    assert difference.value == pytest.approx(2.0)
    assert difference.significant
    assert interval(first).low < interval(second).high  # type: ignore[operator]
    reverse = paired_difference(second, first)
    np.testing.assert_allclose(
        [reverse.value, reverse.low, reverse.high], [-difference.value, -difference.high, -difference.low], atol=0.1
    )
    assert reverse.significant
    assert (difference.level, difference.num_items) == (0.95, 1200)


def test_identical_outcomes_do_not_differ() -> None:
    outcomes = np.random.default_rng(7).random(100)
    difference = paired_difference(outcomes, outcomes.copy())
    assert difference[:3] == (0.0, 0.0, 0.0)
    assert not difference.significant


def test_a_shift_of_all_outcomes_is_the_difference() -> None:
    outcomes = np.random.default_rng(8).random(100)
    difference = paired_difference(outcomes + 0.25, outcomes)
    np.testing.assert_allclose(difference[:3], 25.0)
    assert difference.significant


def test_one_item_more_is_not_significant() -> None:
    first = np.arange(100) < 51
    difference = paired_difference(first, np.arange(100) < 50)
    assert difference.value == pytest.approx(1.0)
    assert difference.low == 0
    assert not difference.significant


def test_groups_cover_where_single_items_do_not() -> None:
    """Objects of a video share most of their score: 60 videos of 1 to 5 objects."""
    rng = np.random.default_rng(9)
    covered = {"grouped": 0, "single": 0}
    for trial in range(500):
        groups = np.repeat(np.arange(60), rng.integers(1, 6, size=60))
        outcomes = 0.5 + rng.normal(0, 0.1, size=60)[groups] + rng.normal(0, 0.03, size=len(groups))
        for name, given in (("grouped", groups), ("single", None)):
            _, low, high = interval(outcomes, given, seed=trial, draws=1000)
            assert low is not None
            assert high is not None
            covered[name] += low <= 50 <= high
    assert 0.91 < covered["grouped"] / 500 < 0.97  # a few groups too few make it a little narrow
    assert covered["single"] / 500 < 0.85


def test_a_handful_of_items_proves_nothing() -> None:
    better, worse = np.array([0.6, 0.7, 0.8, 0.5, 0.9]), np.array([0.1, 0.2, 0.3, 0.1, 0.2])
    few = paired_difference(better, worse)
    assert few.low > 0
    assert (few.significant, few.too_few) == (False, True)
    assert paired_difference(np.append(better, 0.7), np.append(worse, 0.1)).significant
    grouped = paired_difference(np.tile(better, 9), np.tile(worse, 9), np.tile(np.arange(5), 9))
    assert (grouped.num_items, grouped.num_groups, grouped.significant) == (45, 5, False)

"""Scores over seeds: known answers, and the coverage of their intervals by simulation."""

import numpy as np
import pytest
from jaxtyping import Float
from scipy import stats
from scipy.special import expit

from longtake.leaderboards.aggregate import contrast, in_groups, pooled

ITEMS = 400


def test_one_seed_is_students_interval_of_the_items() -> None:
    outcomes = np.random.default_rng(0).beta(2, 3, (1, 300))
    found = pooled(outcomes)
    low, high = stats.t.interval(0.95, 299, outcomes.mean(), stats.sem(outcomes[0]))
    np.testing.assert_allclose([found.value, found.low, found.high], [100 * outcomes.mean(), 100 * low, 100 * high])
    assert found.seeds_std is None
    assert found.num_seeds == 1


def test_items_that_seeds_agree_on_leave_what_items_vary() -> None:
    # Every seed the same outcomes: the seeds say nothing new, and the interval is that of one.
    one = np.random.default_rng(1).random((1, 200))
    np.testing.assert_allclose(pooled(one.repeat(3, 0))[:3], pooled(one)[:3])


def test_seeds_that_items_agree_on_leave_what_seeds_vary() -> None:
    scores = np.array([0.50, 0.53, 0.57])
    found = pooled(scores[:, None].repeat(50, 1))
    low, high = stats.t.interval(0.95, 2, scores.mean(), stats.sem(scores))
    np.testing.assert_allclose([found.low, found.high], [100 * low, 100 * high])
    assert found.seeds_std == pytest.approx(100 * scores.std(ddof=1))
    assert found.df == pytest.approx(2)


def test_no_interval_reaches_beyond_what_a_score_can_be() -> None:
    found = pooled(np.array([0.05, 0.25])[:, None].repeat(50, 1))  # one degree of freedom: 15 +- 127
    assert (found.low, found.value) == (0, pytest.approx(15))
    assert found.high == 100


def test_variance_is_that_of_crossed_factors() -> None:
    # Mean squares of the two-way table: V = (MS_seed + MS_item - MS_rest) / (s n).
    x = np.random.default_rng(2).random((4, 60)) + np.linspace(0, 0.3, 60) + np.array([[0.0], [0.1], [0.2], [0.15]])
    s, n = x.shape
    rest = x - x.mean(1, keepdims=True) - x.mean(0) + x.mean()
    squares = n * x.mean(1).var(ddof=1), s * x.mean(0).var(ddof=1), (rest**2).sum() / (s - 1) / (n - 1)
    variance = (squares[0] + squares[1] - squares[2]) / (s * n)
    found = pooled(x)
    assert (found.high - found.low) / 200 == pytest.approx(stats.t.ppf(0.975, found.df) * variance**0.5)


def test_one_seed_each_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random((1, 80)), rng.random((1, 80))
    assert contrast(a, b).p == pytest.approx(stats.ttest_rel(a[0], b[0]).pvalue)
    assert contrast(a, b).value == -contrast(b, a).value


def test_items_that_are_alike_leave_welchs_test_of_the_seeds() -> None:
    a, b = np.array([0.5, 0.52, 0.58]), np.array([0.40, 0.47, 0.46, 0.44])
    found = contrast(a[:, None].repeat(30, 1), b[:, None].repeat(30, 1))
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.df == pytest.approx(expected.df)
    # With two seeds, too, but for the p-value, which asks for more.
    found = contrast(a[:, None].repeat(30, 1), b[:2, None].repeat(30, 1))
    expected = stats.ttest_ind(a, b[:2], equal_var=False)
    assert found.df == pytest.approx(expected.df)
    low, high = expected.confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high], [100 * low, 100 * high])
    assert found.p > expected.pvalue


def test_two_seeds_have_banerjees_p() -> None:
    # Items that are alike leave two terms of one degree of freedom each: t with one of the sum.
    a, b = np.array([0.5, 0.52]), np.array([0.40, 0.47])
    found = contrast(a[:, None].repeat(30, 1), b[:, None].repeat(30, 1))
    error = (a.var(ddof=1) / 2 + b.var(ddof=1) / 2) ** 0.5
    assert found.p == pytest.approx(2 * stats.t.sf((a.mean() - b.mean()) / error, 1))
    assert contrast(a[:, None].repeat(30, 1), a[::-1, None].repeat(30, 1)).p == 1


def test_two_seeds_that_agree_leave_the_items() -> None:
    one, two = np.random.default_rng(7).random((2, 90))
    found, expected = contrast(one[None].repeat(2, 0), two[None].repeat(2, 0)), contrast(one[None], two[None])
    np.testing.assert_allclose(found[:4], expected[:4], rtol=1e-9)


def test_a_decay_may_be_negative() -> None:
    falling = np.random.default_rng(8).uniform(-0.3, 0.2, (3, 40))
    found = pooled(falling)
    assert found.value == pytest.approx(100 * falling.mean())
    assert found.low < found.value < found.high


def test_groups_are_drawn_as_a_whole() -> None:
    # Twenty videos of ten equal objects each know no more than twenty objects.
    videos = np.random.default_rng(4).random((2, 20))
    groups = np.arange(20).repeat(10)
    np.testing.assert_allclose(pooled(videos.repeat(10, 1), groups)[:3], pooled(videos)[:3])
    assert contrast(videos.repeat(10, 1), videos.repeat(10, 1), groups).num_items == 20


def test_groups_of_different_sizes_keep_the_mean() -> None:
    outcomes, groups = np.random.default_rng(5).random((3, 50)), np.random.default_rng(6).integers(0, 9, 50)
    np.testing.assert_allclose(in_groups(outcomes, groups).mean(1), outcomes.mean(1))


def test_outcomes_that_are_none_are_refused() -> None:
    for wrong in (np.empty((2, 0)), np.array([[0.5, np.nan]])):
        with pytest.raises(ValueError, match="expected finite numbers"):
            pooled(wrong)


def drawn(
    rng: np.random.Generator, item: Float[np.ndarray, "n"], seeds: int, spread: float
) -> Float[np.ndarray, "s n"]:
    """0/1 outcomes: how hard the item is, how good the seed is, and chance."""
    logit = rng.normal(0, spread, (seeds, 1)) + item + rng.normal(0, 0.5, (seeds, len(item)))
    return (rng.random(logit.shape) < expit(logit)).astype(np.float64)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_coverage_of_intervals(seeds: int) -> None:
    """1500 worlds in which training seeds move a score as much as another draw of 400 items would.

    Without any variance of seeds the intervals are too wide (97.5 % of the scores, 98.6 % of the differences, three seeds),
    with two seeds that vary far more than the items too narrow (89 %: 1200 items, spread 0.2).
    """
    rng = np.random.default_rng(seeds)
    truth = 50.0  # the distribution is symmetric
    score, difference = [], []
    for _ in range(1500):
        item = rng.normal(0, 1.0, ITEMS)
        a, b = drawn(rng, item, seeds, 0.15), drawn(rng, item, seeds, 0.15)
        p, c = pooled(a), contrast(a, b)
        score.append(p.low <= truth <= p.high)
        difference.append(c.low <= 0 <= c.high)
    assert 0.93 <= np.mean(score) <= 0.97
    assert 0.93 <= np.mean(difference) <= 0.97


@pytest.mark.parametrize(("items", "spread"), [(400, 0.0), (400, 0.15), (1200, 0.2)])
def test_two_seeds_give_no_verdict_too_often(items: int, spread: float) -> None:
    """800 worlds each, from seeds that do not matter to seeds that matter far more than the items (5 % and two sigmas)."""
    rng, wrong = np.random.default_rng(items), 0
    for _ in range(800):
        item = rng.normal(0, 1.0, items)
        wrong += contrast(drawn(rng, item, 2, spread), drawn(rng, item, 2, spread)).p <= 0.05
    assert wrong / 800 <= 0.05 + 2 * (0.95 * 0.05 / 800) ** 0.5

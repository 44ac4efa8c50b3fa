"""Distributions and intervals against values worked out by hand, against scipy, and at their edges."""

import itertools
import math
from statistics import fmean

import numpy as np
import pytest
from scipy import special, stats

from bench.report.statistics import Interval, mean, mean_interval, wilson
from bench.report.statistics.bootstrap import FEWEST, MOST, RESAMPLES, VARIED, VARIED_STUDENT, bootstrap
from bench.report.statistics.distributions import incomplete_beta, range_quantile, t_quantile, t_tail
from bench.report.statistics.intervals import paired_shares

DEGREES = [1, 2, 3, 4, 5, 9, 10, 11, 29, 100, 999, 2.7, 13.4]


@pytest.mark.parametrize("degrees", DEGREES)
def test_student_equals_scipys(degrees: float) -> None:
    for probability in (0.6, 0.9, 0.95, 0.975, 0.995, 0.9995):
        assert t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-9)
    for t in (0.0, 0.3, -1.5, 4.0, 20.0):
        assert t_tail(t, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-8, abs=1e-14)
    assert t_tail(math.inf, degrees) == 0


def test_student_with_one_and_two_degrees_by_hand() -> None:
    # One degree is Cauchy's distribution: P(|T| >= 1) = 1 - 2/pi * arctan(1) = 1/2.
    assert t_tail(1, 1) == pytest.approx(0.5)
    # Two degrees: P(|T| >= t) = 1 - t / sqrt(2 + t^2); for t = sqrt(2) this is 1 - 1/sqrt(2).
    assert t_tail(math.sqrt(2), 2) == pytest.approx(1 - 1 / math.sqrt(2))


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1, 3), (2.5, 0.5), (30, 4), (400, 0.5), (50_000, 0.5)])
def test_incomplete_beta_equals_scipys(a: float, b: float) -> None:
    for x in (0.0, 1e-6, 0.2, 0.5, 0.9, 0.9999, 1.0):
        assert incomplete_beta(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-8, abs=1e-14)


@pytest.mark.parametrize("count", [2, 3, 5, 10, 30])
def test_range_quantile_equals_scipys(count: int) -> None:
    expected = stats.studentized_range.ppf(0.95, count, math.inf)
    assert range_quantile(0.95, count) == pytest.approx(expected, abs=1e-6)


def test_range_of_two_normals_by_hand() -> None:
    # The difference of two standard normals has standard deviation sqrt(2), so the quantile is sqrt(2) * 1.959964.
    assert range_quantile(0.95, 2) == pytest.approx(math.sqrt(2) * 1.959964, abs=1e-6)


def test_mean_interval_by_hand() -> None:
    # Mean 2, standard deviation 1, error 1/sqrt(3); t with two degrees at 97.5% is 4.302653, over sqrt(3) 2.484138.
    assert mean_interval([1, 2, 3]) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-5)


def test_mean_interval_equals_scipys() -> None:
    values = [0.71, 0.74, 0.69]
    expected = stats.t.interval(0.95, 2, fmean(values), stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)


def test_values_whose_squares_are_beyond_all_numbers() -> None:
    # Mean m = (1e200 + 1e180) / 2, standard error m up to 20 digits, t with one degree at 97.5% 12.7062.
    assert mean_interval([1e200, 1e180]) == pytest.approx((5e199 * (1 - 12.7062), 5e199 * (1 + 12.7062)), rel=1e-5)
    assert mean_interval([1e308, -1e308]) is None, "its width is beyond all numbers"


def test_mean_of_any_values() -> None:
    assert mean([0.1] * 10) == 0.1
    assert math.isnan(mean([math.inf, -math.inf]))
    assert mean([1e308, 1e308]) == math.inf


@pytest.mark.parametrize(
    "values", [[], [1.0], [1.0, math.nan], [1.0, math.inf], [2.0, 2.0], [0.7 - 0.6, 0.8 - 0.7], [math.inf, -math.inf]]
)
def test_what_has_no_spread_has_no_interval(values: list[float]) -> None:
    assert mean_interval(values) is None


def test_wilson_by_hand() -> None:
    # z^2 = 3.841459. No success in 10: from 0 to z^2 / (10 + z^2) = 3.841459 / 13.841459.
    assert wilson(0, 10) == pytest.approx((0, 3.841459 / 13.841459))


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (7, 10), (311, 500), (1, 1)])
def test_wilson_equals_scipys(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high))


def test_interval_of_paired_shares_by_hand() -> None:
    # Of 18 examples five only the first got right, none only the second: 5 / 20, and 1.959964 * sqrt(6 - 25 / 20) / 20.
    half = 1.959964 * math.sqrt(4.75) / 20
    assert paired_shares(5, 0, 18) == pytest.approx((0.25 - half, 0.25 + half))
    # No example parts the two: not ±0, but 1.959964 * sqrt(1) / 20.
    assert paired_shares(0, 0, 18) == pytest.approx((-0.0979982, 0.0979982))
    assert paired_shares(0, 8, 8) == pytest.approx((-1, -0.8 + 0.316035), abs=1e-6)


def test_margin_is_the_larger_side() -> None:
    assert Interval(0.2, 0.5).margin(0.3) == pytest.approx(0.2)


def test_bootstrap_equals_all_resamples() -> None:
    """Of 40 outcomes, ten of 3 and thirty of -1, less 0.4, only the number of threes in a resample matters."""
    sample = np.array([3.0] * 10 + [-1.0] * 30) - 0.4

    def ratio(threes: int) -> float:
        """|mean - 0| / standard error of centred resamples: the mean is 4 (j - 10) / 40."""
        share = threes / 40
        error = 4 * math.sqrt(share * (1 - share) / 39)
        return abs(4 * (share - 0.25)) / error if error else math.inf

    chances = {j: math.comb(40, j) * 0.25**j * 0.75 ** (40 - j) for j in range(41)}
    # The sample's mean is 4 * 10 / 40 - 1 - 0.4 = -0.4, and its standard error 4 * sqrt(0.25 * 0.75 / 39).
    error = 4 * math.sqrt(0.1875 / 39)
    (found,) = bootstrap([sample])
    expected = math.fsum(chance for j, chance in chances.items() if ratio(j) >= 0.4 / error)
    assert found.p == pytest.approx(expected, abs=0.015)
    ordered = sorted((ratio(j), chance) for j, chance in chances.items())
    totals = itertools.accumulate(chance for _, chance in ordered)
    cut = next(each for (each, _), total in zip(ordered, totals, strict=True) if total >= 0.95)
    assert found.interval == pytest.approx((-0.4 - cut * error, -0.4 + cut * error), rel=1e-4)


def test_bootstrap_agrees_with_student_on_plain_data_and_repeats() -> None:
    samples = list(np.random.default_rng(1).normal(0.1, 1, (5, 400)))
    found = bootstrap(samples)
    assert found == bootstrap(samples)
    (alone,) = bootstrap([samples[2]])
    assert alone.interval == pytest.approx(found[2].interval, rel=1e-4), "a sample's company does not matter"
    assert alone.p == pytest.approx(found[2].p, abs=3e-4)
    for sample, each in zip(samples, found, strict=True):
        expected = stats.ttest_1samp(sample, 0)
        assert each.p == pytest.approx(expected.pvalue, abs=0.015)
        assert each.interval == pytest.approx(tuple(expected.confidence_interval()), abs=0.01)


def test_very_many_examples_take_student() -> None:
    sample = np.random.default_rng(0).normal(0.02, 1, MOST + 1)
    (found,) = bootstrap([sample])
    assert found.p == pytest.approx(stats.ttest_1samp(sample, 0).pvalue, rel=1e-6)
    assert found.interval == mean_interval(sample.tolist())


def test_a_p_value_below_all_resamples_is_not_limited_by_their_number() -> None:
    (clear,) = bootstrap([np.random.default_rng(0).normal(1, 1, 200)])
    assert clear.p < 1 / (RESAMPLES + 1) ** 2


def sparse(size: int, others: int) -> np.ndarray:
    """Outcomes that are 0 but for a few."""
    return np.concatenate([np.zeros(size - others), np.linspace(0.1, 1, others)])


def test_too_few_outcomes_that_differ_have_no_interval_and_no_test() -> None:
    few = np.random.default_rng(0).normal(size=FEWEST - 1)
    samples = [np.full(30, 0.5), np.ones(1), few, sparse(100, VARIED - 1), sparse(MOST + 1, VARIED_STUDENT - 1)]
    assert [(each.interval, each.p) for each in bootstrap(samples)] == [(None, None)] * 5
    (none,) = bootstrap([np.zeros(30)])
    assert (none.interval, none.p) == (None, 1.0), "no difference at all is not one that counts"
    enough = bootstrap([sparse(100, VARIED), sparse(MOST + 1, VARIED_STUDENT)])
    assert all(each.interval is not None and each.p is not None for each in enough)


def test_outcomes_whose_squares_are_beyond_all_numbers_have_no_interval() -> None:
    (found,) = bootstrap([np.linspace(1, 2, 50) * 1e200])
    assert found == (None, None)

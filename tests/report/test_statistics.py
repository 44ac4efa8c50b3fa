"""The statistics against scipy, against simulation, and at their edges."""

import math
import random
from statistics import fmean

import pytest
from scipy import stats

from bench.report.statistics import (
    BOOTSTRAP_EXAMPLES,
    Interval,
    mcnemar,
    mean_interval,
    paired_bootstrap,
    same_mean,
    same_over_seeds,
    t_quantile,
    wilson,
)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 10, 29, 100, 999])
def test_t_quantile_equals_scipys(degrees: int) -> None:
    for probability in (0.6, 0.9, 0.95, 0.975, 0.995, 0.9995):
        assert t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-9)


def test_mean_interval_equals_scipys() -> None:
    values = [0.71, 0.74, 0.69]
    expected = stats.t.interval(0.95, 2, fmean(values), stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_what_has_no_spread_has_no_interval(values: list[float]) -> None:
    assert mean_interval(values) is None


@pytest.mark.parametrize("size", [2, 3, 5])
def test_mean_interval_covers_the_truth_95_times_in_100(size: int) -> None:
    generator = random.Random(size)
    samples = [[generator.gauss(3, 2) for _ in range(size)] for _ in range(2000)]
    intervals = [mean_interval(sample) for sample in samples]
    covered = fmean(i is not None and i.low <= 3 <= i.high for i in intervals)
    assert covered == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (7, 10), (311, 500), (1, 1)])
def test_wilson_equals_scipys(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high))


def test_wilson_covers_the_truth_about_95_times_in_100() -> None:
    generator = random.Random(0)
    intervals = [wilson(sum(generator.random() < 0.3 for _ in range(60)), 60) for _ in range(3000)]
    assert fmean(i.low <= 0.3 <= i.high for i in intervals) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (5, 10), (1, 9), (0, 6), (40, 70)])
def test_mcnemar_is_the_binomial_test_of_the_discordant(only_first: int, only_second: int) -> None:
    first = [1] * only_first + [0] * only_second + [1, 0] * 20
    second = [0] * only_first + [1] * only_second + [1, 0] * 20
    discordant = only_first + only_second
    expected = stats.binomtest(only_first, discordant).pvalue if discordant else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)


def test_bootstrap_agrees_with_theory_and_repeats() -> None:
    generator = random.Random(1)
    differences = [generator.gauss(0.2, 1) for _ in range(400)]
    found = paired_bootstrap(differences)
    assert found == paired_bootstrap(differences)
    half = 1.96 * stats.sem(differences)
    assert found.low == pytest.approx(fmean(differences) - half, abs=0.15 * half)
    assert found.high == pytest.approx(fmean(differences) + half, abs=0.15 * half)


def test_bootstrap_covers_the_truth_about_95_times_in_100() -> None:
    generator = random.Random(2)
    intervals = [paired_bootstrap([generator.choice((-0.5, 0, 0, 1)) for _ in range(80)]) for _ in range(200)]
    assert fmean(i.low <= 0.125 <= i.high for i in intervals) == pytest.approx(0.95, abs=0.04)


def test_many_examples_take_the_normal_interval() -> None:
    differences = [0.0, 1.0] * (BOOTSTRAP_EXAMPLES // 2 + 1)
    half = 1.959964 * stats.sem(differences)
    assert paired_bootstrap(differences) == pytest.approx((0.5 - half, 0.5 + half))


def test_one_pair_tells_nothing() -> None:
    assert paired_bootstrap([1.0]) == Interval(-math.inf, math.inf)


def test_same_mean_of_outcomes_and_of_averages() -> None:
    assert same_mean([1, 0, 1, 1], [1, 0, 0, 1])
    assert not same_mean([1] * 40, [0] * 20 + [1] * 20)
    assert same_mean([0.5, 1, 0, 0.5] * 10, [1, 0.5, 0.5, 0] * 10)
    assert not same_mean([0.5, 1] * 20, [0, 0.5] * 20)
    assert same_mean([0.5, 1], [0.5, 1])


def test_same_over_seeds_needs_two_seeds() -> None:
    assert same_over_seeds([0.5], [0.4]) is None
    assert same_over_seeds([0.50, 0.52, 0.51], [0.51, 0.51, 0.52]) is True
    assert same_over_seeds([0.50, 0.52, 0.51], [0.30, 0.32, 0.311]) is False


def test_margin_is_the_larger_side() -> None:
    assert Interval(0.2, 0.5).margin(0.3) == pytest.approx(0.2)

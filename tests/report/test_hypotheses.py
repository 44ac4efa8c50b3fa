"""Tests of hypotheses and their correction against values worked out by hand, and against scipy."""

import itertools
import math
import time

import numpy as np
import pytest
from scipy import stats

from bench.report.statistics.bootstrap import bootstrap
from bench.report.statistics.hypotheses import (
    crossed,
    crossed_apart,
    holm,
    holm_against_best,
    mcnemar,
    paired_interval,
    paired_p_values,
    paired_t,
    unpaired_t,
)
from bench.report.statistics.intervals import paired_shares


def test_mcnemar_of_very_many_is_fast() -> None:
    begin = time.perf_counter()
    assert 0 < mcnemar(99_000, 101_000) < 1e-4
    assert time.perf_counter() - begin < 0.5


def test_mcnemar_by_hand() -> None:
    # Nine examples only the second got right, one only the first: 2 * (1 + 10) / 2^10 = 22 / 1024.
    assert mcnemar(1, 9) == pytest.approx(22 / 1024)
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1


@pytest.mark.parametrize(("only_first", "only_second"), [(5, 10), (1, 9), (0, 6), (40, 70), (900, 1000), (9800, 10200)])
def test_mcnemar_is_the_binomial_test_of_the_discordant(only_first: int, only_second: int) -> None:
    expected = stats.binomtest(only_first, only_first + only_second).pvalue
    assert mcnemar(only_first, only_second) == pytest.approx(expected)


def test_paired_t_by_hand() -> None:
    # Mean 2, error 1/sqrt(3), t = 2 sqrt(3): with two degrees p = 1 - t / sqrt(2 + t^2) = 1 - sqrt(12/14).
    assert paired_t([1, 2, 3]) == pytest.approx(1 - math.sqrt(12 / 14))
    assert paired_t([0.5]) is None, "one seed allows no test"
    assert paired_t([0.5, math.nan]) is None
    assert paired_t([0, 0]) == 1
    assert paired_t([0.25, 0.25]) is None, "what never varies makes nothing certain"
    assert paired_t([0.7 - 0.6, 0.8 - 0.7]) is None, "these differ by rounding alone"
    values = [0.3, -0.1, 0.2, 0.5, 0.05]
    assert paired_t(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_which_test_is_made() -> None:
    right, wrong = np.ones((1, 40)), np.array([[0.0] * 20 + [1.0] * 20])
    halves = np.array([[0.0, 0.5] * 20])
    seeds = np.stack([right[0], wrong[0]])
    found = paired_p_values([(right, wrong), (right, halves), (seeds, seeds - 0.25), (halves, halves)])
    assert found[0] == mcnemar(20, 0)
    assert found[1] == bootstrap([(right - halves)[0]])[0].p
    assert found[2] is crossed(np.full((2, 40), 0.25)) is None
    assert paired_interval(np.full((2, 40), 0.5), np.full((2, 40), 0.3)) is None
    assert found[3] == 1


def test_crossed_by_hand() -> None:
    # Two seeds (rows), three examples. Seed means 2 and 4, example means 1.5, 3, 4.5, grand mean 3.
    values = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]])
    # MS_seeds = 3 * ((2-3)^2 + (4-3)^2) / 1 = 6; MS_examples = 2 * (1.5^2 + 0 + 1.5^2) / 2 = 4.5. The rest is value
    # - seed mean - example mean + grand mean = (0.5, 0, -0.5), (-0.5, 0, 0.5): squares 1, over 1 * 2 degrees: 0.5.
    # Variance of the mean: (6 + 4.5 - 0.5) / 6; degrees 10^2 / (6^2/1 + 4.5^2/2 + 0.5^2/2) = 100 / 46.25.
    joint = 2 * stats.t.sf(3 / math.sqrt(10 / 6), 100 / 46.25)
    # Over the seeds alone: t = 3 / (sqrt(2) / sqrt(2)) = 3 with one degree.
    assert crossed(values) == pytest.approx(max(joint, 2 * stats.t.sf(3, 1)))
    assert joint < crossed(values) == pytest.approx(0.2048, abs=1e-4)
    # The interval of the same differences: t with one degree at 97.5% is 12.7062.
    assert paired_interval(values, np.zeros((2, 3))) == pytest.approx((3 - 12.7062, 3 + 12.7062), abs=1e-3)
    # With examples that matter more than the seeds, the joint test decides: seed means 2 and 2.2, examples far apart.
    values = np.array([[-4.0, 2.0, 8.0], [-3.8, 2.2, 8.2]])
    # MS_seeds = 3 * 2 * 0.1^2 = 0.06, MS_examples = 2 * (36 + 36) / 2 = 72, no rest.
    expected = 2 * stats.t.sf(2.1 / math.sqrt(72.06 / 6), 72.06**2 / (0.06**2 + 72**2 / 2))
    assert crossed(values) == pytest.approx(expected)


def test_crossed_mean_squares_are_those_of_the_analysis_of_variance() -> None:
    values = np.random.default_rng(0).normal(size=(4, 30)) + np.random.default_rng(1).normal(size=30) + 0.2
    total = ((values - values.mean()) ** 2).sum()
    seeds = 30 * ((values.mean(axis=1) - values.mean()) ** 2).sum()
    examples = 4 * ((values.mean(axis=0) - values.mean()) ** 2).sum()
    squares = seeds / 3, examples / 29, (total - seeds - examples) / 87
    whole = max(squares[0] + squares[1] - squares[2], squares[0], squares[1])
    degrees = whole**2 / (squares[0] ** 2 / 3 + squares[1] ** 2 / 29 + squares[2] ** 2 / 87)
    joint = 2 * stats.t.sf(abs(values.mean()) / math.sqrt(whole / 120), degrees)
    assert crossed(values) == pytest.approx(max(joint, stats.ttest_1samp(values.mean(axis=1), 0).pvalue))


def test_crossed_with_one_example_is_the_test_over_seeds() -> None:
    assert crossed(np.array([[1.0], [2.0], [3.0]])) == pytest.approx(paired_t([1, 2, 3]))


def test_crossed_apart_by_hand() -> None:
    # Seed means 1 and 3 on one side, 6, 7 and 8 on the other: variances of the means 2 / 2 = 1 and 1 / 3.
    first = np.array([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]])
    second = np.array([[6.0, 6.0, 6.0], [7.0, 7.0, 7.0], [8.0, 8.0, 8.0]])
    # Over the seeds: t = 5 / sqrt(4/3), with one degree. The examples' differences are -6, -5, -4: variance 1 / 3. No
    # rest, so 4/3 + 1/3, with (5/3)^2 / (1^2 / 1 + (1/3)^2 / 2 + (1/3)^2 / 2) = 2.5 degrees.
    seeds = 2 * stats.t.sf(5 / math.sqrt(4 / 3), 1)
    joint = 2 * stats.t.sf(5 / math.sqrt(5 / 3), 2.5)
    assert crossed_apart(first, second) == pytest.approx(max(seeds, joint))
    alone = 2 * stats.t.sf(6 / math.sqrt(4 / 3), 1)  # of the first example the means are 1 and 7
    assert crossed_apart(first[:, :1], second[:, :1]) == pytest.approx(alone), "one example: the seeds alone"
    assert crossed_apart(np.full((2, 3), 0.5), np.full((3, 3), 0.3)) is None
    assert crossed_apart(np.full((2, 3), 0.5), np.full((3, 3), 0.5)) == 1


def test_unpaired_t_by_hand() -> None:
    # Means 2 and 6, variances of the means 2 / 2 = 1 and 1 / 3: t = 4 / sqrt(4/3) with one degree, P = 2/pi * acot(t).
    assert unpaired_t([1, 3], [5, 6, 7]) == pytest.approx(2 / math.pi * math.atan(math.sqrt(4 / 3) / 4))
    assert unpaired_t([1, 3], [6]) is None
    assert unpaired_t([1, 3], [6, math.nan]) is None
    assert unpaired_t([1, 1], [2, 2]) is None
    assert unpaired_t([1, 1], [1, 1, 1]) == 1
    assert unpaired_t([1, 1], [1, 3]) == pytest.approx(0.5), "t = 1 / sqrt(2 / 2) = 1 with one degree"


def test_holm_by_hand() -> None:
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2 = 0.06, not below the one before, 0.5 * 1.
    assert holm([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_against_the_best_counts_all_pairs_in_question() -> None:
    # Three rows beside the best: six pairs, then three, then one. 0.004 * 6, 0.01 * 3 = 0.03, 0.2 * 1.
    assert holm_against_best([0.01, 0.2, 0.004]) == pytest.approx([0.03, 0.2, 0.024])
    assert holm_against_best([0.04]) == [0.04], "a single comparison needs no correction"


def test_every_order_of_rows_gives_the_same_correction() -> None:
    p_values = [0.001, 0.01, 0.03, 0.2]
    expected = dict(zip(p_values, holm_against_best(p_values), strict=True))
    for order in itertools.permutations(p_values):
        assert holm_against_best(order) == [expected[p] for p in order]


def test_paired_interval_of_one_run_is_the_bootstraps() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 1, 100))
    assert paired_interval(first, second) == bootstrap([(first - second)[0]])[0].interval


def test_paired_interval_of_one_run_of_shares() -> None:
    first, second = np.ones((1, 40)), np.array([[0.0] * 15 + [1.0] * 25])
    assert paired_interval(first, second) == paired_shares(15, 0, 40)
    assert paired_interval(second, first) == paired_shares(0, 15, 40)

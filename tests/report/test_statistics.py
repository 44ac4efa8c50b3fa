"""The statistics against values worked out by hand, against scipy, and at their edges."""

import itertools
import math
import time
from statistics import fmean

import numpy as np
import pytest
from scipy import special, stats

from bench.report.statistics import Interval, mean, mean_interval, wilson
from bench.report.statistics.bootstrap import FEWEST, MOST, RESAMPLES, VARIED, VARIED_STUDENT, bootstrap
from bench.report.statistics.distributions import incomplete_beta, range_quantile, t_quantile, t_tail
from bench.report.statistics.friedman import critical_difference, friedman, ranking, ranks
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
from bench.report.statistics.pareto import dominators, front, layers
from bench.report.statistics.scores import pscp

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


def test_mcnemar_of_very_many_is_fast() -> None:
    begin = time.perf_counter()
    assert 0 < mcnemar(99_000, 101_000) < 1e-4
    assert time.perf_counter() - begin < 0.5


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


def test_pareto_by_hand() -> None:
    # Loss (less is better) and speed (more is better).
    points = [(0.5, 10.0), (0.4, 8.0), (0.5, 9.0), (0.6, 12.0), (0.6, 8.0), (0.4, 8.0)]
    assert front(points, [-1, 1]) == [True, True, False, True, False, True], "equal points do not beat each other"
    assert layers(points, [-1, 1]) == [1, 1, 2, 1, 3, 1]
    assert dominators(points, [-1, 1]) == [[], [], [0], [], [0, 1, 3, 5], []]
    assert front([], [1, 1]) == []


def test_pareto_equals_its_definition() -> None:
    generator = np.random.default_rng(0)
    points = generator.integers(0, 6, (80, 3)).astype(float).tolist()
    directions = [1, -1, 1]
    left, layer, expected = set(range(80)), 0, {}
    while left:
        layer += 1
        signed = {i: [d * v for d, v in zip(directions, points[i], strict=True)] for i in left}
        top = {
            i
            for i in left
            if not any(
                all(a >= b for a, b in zip(signed[j], signed[i], strict=True)) and signed[j] != signed[i] for j in left
            )
        }
        expected |= dict.fromkeys(top, layer)
        left -= top
    assert layers(points, directions) == [expected[i] for i in range(80)]


def test_pscp_by_hand() -> None:
    # Half of 5e8 parameters: 1 / 1.5; 47 GB of 94: 1 / 1.5; 0.9 / 2.25 = 0.4.
    assert pscp(0.9, 2.5e8, 47e9) == pytest.approx(0.4)
    assert pscp(0.9, 0, 0) == 0.9


def test_ranks_share_ties() -> None:
    assert ranks([0.3, 0.1, 0.3, 0.2]) == [3.5, 1, 3.5, 2]
    values = np.random.default_rng(0).integers(0, 4, 12).tolist()
    assert ranks(values) == stats.rankdata(values).tolist()


def test_friedman_by_hand() -> None:
    assert friedman([[1.5, 1.5], [1.5, 1.5]]) == 1
    # Two tasks order two methods alike: of the four equally probable pairs of orders two are like that.
    assert friedman([[1.0, 2.0], [1.0, 2.0]]) == pytest.approx(1 / 2, abs=0.01)
    # Five tasks order three methods alike: 6 of the 6^5 orders.
    assert friedman([[1.0, 2.0, 3.0]] * 5) == pytest.approx(6 / 6**5, abs=5e-4)


@pytest.mark.parametrize(
    "table",
    [
        [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [2.0, 1.0, 3.0]],
        [[1.0, 2.5, 2.5], [1.0, 2.0, 3.0], [3.0, 1.5, 1.5], [1.0, 2.0, 3.0]],
    ],
)
def test_friedman_is_the_share_of_all_orders(table: list[list[float]]) -> None:
    def spread(rows) -> float:
        return sum(sum(column) ** 2 for column in zip(*rows, strict=True))

    every = [spread(rows) >= spread(table) - 1e-9 for rows in itertools.product(*map(itertools.permutations, table))]
    assert friedman(table) == pytest.approx(sum(every) / len(every), abs=0.01)


def test_friedman_of_many_tasks_is_near_scipys_approximation() -> None:
    values = np.random.default_rng(3).normal([0, 0.2, 0.4, 0.6], 1, (40, 4))
    expected = stats.friedmanchisquare(*values.T).pvalue
    assert friedman([ranks(row) for row in values.tolist()]) == pytest.approx(expected, abs=0.01)


def test_critical_difference_is_demsars() -> None:
    # Demsar 2006, section 3.2.3: four classifiers, 14 data sets: 2.569 * sqrt(4 * 5 / (6 * 14)) = 1.25.
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    # Table 5(a), q at 0.05 for 2 to 10 classifiers.
    table = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    found = [critical_difference(k, 1) / math.sqrt(k * (k + 1) / 6) for k in range(2, 11)]
    assert found == pytest.approx(table, abs=0.0011)


def test_ranking_orders_and_groups() -> None:
    # Fourteen tasks with four methods: a always first, d always last, b and c exchange places half the time.
    values = [[4.0, 3.0, 2.0, 1.0], [4.0, 2.0, 3.0, 1.0]] * 7
    found = ranking(["a", "b", "c", "d"], values, [1] * 14)
    assert found.methods == ("a", "b", "c", "d")
    assert found.ranks == pytest.approx((1, 2.5, 2.5, 4))
    assert found.groups == (("b", "c"),), "the critical difference is 1.25"
    assert found.p < 1e-3
    upside_down = ranking(["a", "b", "c", "d"], values, [-1] * 14)
    assert upside_down.methods == ("d", "b", "c", "a")


def test_groups_may_overlap_and_are_as_large_as_can_be() -> None:
    # Two tasks part nobody: the critical difference of three methods is 2.343 * sqrt(12 / 12) = 2.34 > 2.
    assert ranking(["a", "b", "c"], [[1, 2, 3]] * 2, [-1] * 2).groups == (("a", "b", "c"),)
    # Four tasks: 2.344 * sqrt(12 / 24) = 1.66: a and c, two ranks apart, differ; their neighbours do not.
    assert ranking(["a", "b", "c"], [[1, 2, 3]] * 4, [-1] * 4).groups == (("a", "b"), ("b", "c"))


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

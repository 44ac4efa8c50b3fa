"""Pareto fronts, scores and ranks against values worked out by hand, scipy and their definitions."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from bench.report.statistics.friedman import critical_difference, friedman, ranking, ranks
from bench.report.statistics.pareto import dominators, front, layers
from bench.report.statistics.scores import pscp


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

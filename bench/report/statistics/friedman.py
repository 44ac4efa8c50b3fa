"""Ranks of methods over several tasks (Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, 2006).

Friedman's test asks whether the methods differ at all; by Nemenyi's test two methods differ if their average ranks lie
further apart than the critical difference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.statistics.distributions import f_tail, range_quantile
from bench.report.statistics.intervals import CONFIDENCE


@dataclass(frozen=True)
class Ranking:
    """Methods ranked over tasks, the best (the lowest average rank) first."""

    methods: tuple[str, ...]
    ranks: tuple[float, ...]  # average over the tasks
    tasks: int
    p: float  # of Friedman's test, in Iman and Davenport's form, that all methods are equal
    critical_difference: float  # between average ranks, Nemenyi, 5% level
    groups: tuple[tuple[str, ...], ...]  # largest sets of methods that cannot be told apart, of two or more


def ranking(methods: Sequence[str], values: Sequence[Sequence[float]], better: Sequence[int]) -> Ranking:
    """Rank `methods`.

    Args:
        methods: at least two.
        values: for each of at least two tasks, one value for each method.
        better: for each task, +1 where more is better, -1 where less is.
    """
    assert len(methods) >= 2
    assert len(values) >= 2
    by_task = [ranks([-sign * value for value in row]) for row, sign in zip(values, better, strict=True)]
    averages = [math.fsum(column) / len(values) for column in zip(*by_task, strict=True)]
    order = sorted(range(len(methods)), key=lambda i: (averages[i], methods[i]))
    names, means = tuple(methods[i] for i in order), tuple(averages[i] for i in order)
    difference = critical_difference(len(methods), len(values))
    return Ranking(names, means, len(values), friedman(by_task), difference, _groups(names, means, difference))


def ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1 for the smallest; equal values share the average of theirs."""
    return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]


def friedman(by_task: Sequence[Sequence[float]]) -> float:
    """p-value of all columns of a table of ranks (tasks x methods) having the same average rank.

    Friedman's chi-squared, corrected for ties, in the form of Iman and Davenport (1980), which follows F with k - 1
    and (k - 1)(N - 1) degrees of freedom and is less conservative for few tasks.
    """
    n, k = len(by_task), len(by_task[0])
    middle = (k + 1) / 2
    between = math.fsum((math.fsum(column) / n - middle) ** 2 for column in zip(*by_task, strict=True))
    spread = math.fsum((rank - middle) ** 2 for row in by_task for rank in row)  # n k (k^2 - 1) / 12 without ties
    if spread == 0:
        return 1.0
    chi_squared = n * n * (k - 1) * between / spread
    rest = n * (k - 1) - chi_squared
    statistic = (n - 1) * chi_squared / rest if rest > 1e-9 else math.inf
    return f_tail(statistic, k - 1, (k - 1) * (n - 1))


def critical_difference(methods: int, tasks: int) -> float:
    """Nemenyi's at the 5% level: q * sqrt(k (k + 1) / (6 N)), q the studentized range quantile over sqrt(2)."""
    q = range_quantile(CONFIDENCE, methods) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * tasks))


def _groups(names: Sequence[str], means: Sequence[float], difference: float) -> tuple[tuple[str, ...], ...]:
    found: list[tuple[str, ...]] = []
    reached = 0
    for start in range(len(names)):
        end = max(i for i in range(start, len(names)) if means[i] - means[start] <= difference) + 1
        if end > reached and end - start > 1:
            found.append(tuple(names[start:end]))
        reached = max(reached, end)
    return tuple(found)

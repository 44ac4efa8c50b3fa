"""Ranks of methods over several tasks (Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, 2006).

Friedman's test asks whether the methods differ at all; by Nemenyi's test two methods differ if their average ranks lie
further apart than the critical difference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.statistics.distributions import range_quantile
from bench.report.statistics.intervals import CONFIDENCE

DRAWS, BLOCKS = 20_000, 20  # blocks, so that many tasks and methods do not fill the memory


@dataclass(frozen=True)
class Ranking:
    """Methods ranked over tasks, the best (the lowest average rank) first."""

    methods: tuple[str, ...]
    ranks: tuple[float, ...]  # average over the tasks
    tasks: int
    p: float  # of Friedman's test, by permutation, that all methods are equal
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

    By permutation, as Friedman (1937) derived it: were the methods equal, every order of a task's ranks would be as
    probable. The usual approximations (chi-squared, F) find significance in two or three tasks where there is none.
    Of the orders `DRAWS` are drawn, the same every time.
    """
    import numpy as np

    table = np.asarray(by_task, dtype=float)
    observed = float((table.sum(axis=0) ** 2).sum())
    generator = np.random.default_rng(table.size)
    reached = 0
    for _ in range(BLOCKS):
        orders = generator.permuted(np.broadcast_to(table, (DRAWS // BLOCKS, *table.shape)), axis=2)
        reached += int(((orders.sum(axis=1) ** 2).sum(axis=1) >= observed - 1e-9).sum())
    return (1 + reached) / (1 + DRAWS)


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

"""Paired tests of two configurations, and the correction for making many of them.

Which test answers depends on what there is:

- one run each, outcomes of the same examples: McNemar's exact test where outcomes are 0 or 1, else the bootstrap.
  The answer is about these two trained models: the spread of training them again is not in it.
- several seeds, outcomes of the same examples: `crossed`, which counts both the seeds and the examples as drawn.
- several seeds, no outcomes: Student's paired t test over the seeds, on these examples.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.report.statistics.bootstrap import bootstrap
from bench.report.statistics.distributions import t_quantile, t_tail
from bench.report.statistics.intervals import CONFIDENCE, Interval, paired_shares, standard_error

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def paired_p_values(pairs: "Sequence[tuple[Array, Array]]") -> list[float]:
    """Two-sided p-values of the first and the second of each pair having the same mean.

    Args:
        pairs: outcomes of shape (runs, examples); run i of the first is paired with run i of the second.
    """
    found: dict[int, float] = {}
    waiting: dict[int, Array] = {}
    for place, (first, second) in enumerate(pairs):
        assert first.shape == second.shape
        if len(first) > 1:
            found[place] = crossed(first - second)
        elif _shares(first, second):
            found[place] = mcnemar(*_discordant(first, second))
        else:
            waiting[place] = (first - second)[0]
    found |= zip(waiting, (each.p for each in bootstrap(list(waiting.values()))), strict=True)
    return [found[place] for place in range(len(pairs))]


def _shares(first: "Array", second: "Array") -> bool:
    import numpy as np

    return bool(np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all())


def _discordant(first: "Array", second: "Array") -> tuple[int, int]:
    """How many examples only the first got right, and how many only the second."""
    return int((first > second).sum()), int((first < second).sum())


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test: how the examples that only one got right divide between the two."""
    discordant = only_first + only_second
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def paired_t(differences: Sequence[float]) -> float | None:
    """Two-sided p-value of the mean of the differences being zero by Student's t; None for fewer than two."""
    n = len(differences)
    if n < 2:
        return None
    mean = sum(differences) / n
    return _tail(mean, standard_error(differences, mean), n - 1) if math.isfinite(mean) else None


def crossed(differences: "Array") -> float:
    """Two-sided p-value of the mean of differences of shape (runs, examples) being zero, both counted as drawn.

    Every seed's model answers the same examples, so the two factors are crossed. A difference is the sum of a mean, an
    effect of the seed, one of the example, and a rest; with their mean squares the variance of the grand mean is
    (MS_seeds + MS_examples - MS_rest) / (runs * examples), and its degrees of freedom are Satterthwaite's (1946), as in
    multi-reader studies (Dorfman, Berbaum and Metz 1992). The sum is never taken below one of its first two terms, and
    the p-value never below that of the seeds alone: with two or three seeds Satterthwaite's approximation would
    find a difference where there is none in up to 10% of cases. Averaging over the seeds and testing the
    examples alone does so in up to 80%, since it takes the seeds that were drawn for all there are
    (`tests/report/test_coverage.py` measures these rates).
    """
    mean = float(differences.mean())
    return max(_tail(mean, error, degrees) for error, degrees in _crossed_errors(differences))


def paired_interval(first: "Array", second: "Array") -> Interval | None:
    """95% interval of the mean of first - second, outcomes of shape (runs, examples), run i paired with run i.

    Of one run that of two shares where outcomes are 0 or 1, else the bootstrap's over the examples; of several runs
    that which belongs to `crossed`.
    """
    differences = first - second
    if len(differences) == 1 and _shares(first, second):
        return paired_shares(*_discordant(first, second), first.size)
    if len(differences) == 1:
        return bootstrap([differences[0]])[0].interval
    mean = float(differences.mean())
    errors = _crossed_errors(differences)
    half = max(t_quantile((1 + CONFIDENCE) / 2, degrees) * error for error, degrees in errors)
    return Interval(mean - half, mean + half)


def _crossed_errors(differences: "Array") -> list[tuple[float, float]]:
    """Standard errors of the grand mean with their degrees of freedom: of the seeds alone, of seeds and examples."""
    runs, examples = differences.shape
    assert runs > 1, "needs two runs"
    by_seed, by_example = differences.mean(axis=1), differences.mean(axis=0)
    seeds_alone = math.sqrt(float(by_seed.var(ddof=1)) / runs), float(runs - 1)
    if examples < 2:
        return [seeds_alone]
    rest = differences - by_seed[:, None] - by_example[None, :] + float(differences.mean())
    squares = (
        examples * float(by_seed.var(ddof=1)),
        runs * float(by_example.var(ddof=1)),
        float((rest**2).sum()) / ((runs - 1) * (examples - 1)),
    )
    total = max(squares[0] + squares[1] - squares[2], squares[0], squares[1])
    if total == 0:
        return [seeds_alone]
    degrees = (runs - 1, examples - 1, (runs - 1) * (examples - 1))
    spread = sum(square**2 / each for square, each in zip(squares, degrees, strict=True))
    return [seeds_alone, (math.sqrt(total / (runs * examples)), total**2 / spread)]


def _tail(mean: float, error: float, degrees: float) -> float:
    return float(mean == 0) if error == 0 else t_tail(mean / error, degrees)


def holm(p_values: Sequence[float], hypotheses: Callable[[int], int] = int) -> list[float]:
    """Holm's step-down correction (1979): adjusted p-values, in the order given.

    The smallest p-value is multiplied by the number of hypotheses that may still be true, the next by those that may
    be true once the first is refuted, and so on; none becomes smaller than the one before it, or larger than 1.

    Args:
        p_values: of one family.
        hypotheses: how many may still be true when that many p-values are left; by default that many.
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for done, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[place] * hypotheses(len(p_values) - done)))
        adjusted[place] = largest
    return adjusted


def holm_against_best(p_values: Sequence[float]) -> list[float]:
    """Holm's correction where each p-value compares a row with the one that came out best.

    The same data chose the best, so any pair might have been the one compared: with m rows left beside the best
    there are (m + 1) * m / 2 pairs whose equality may still be true (the counts of Shaffer 1986). Counting only the m
    comparisons, eight equal methods would yield a false difference in about one of eight tables instead of one of 20.
    """
    return holm(p_values, lambda left: (left + 1) * left // 2)

"""Tests of two configurations against each other, and the correction for making many of them.

Which test answers depends on what there is:

- one run each, outcomes of the same examples: McNemar's exact test where outcomes are 0 or 1, else the bootstrap.
  The answer is about these two trained models: the spread of training them again is not in it.
- several seeds, the same on both sides, outcomes of the same examples: `crossed`, which counts both the seeds and the
  examples as drawn; without outcomes Student's paired t test over the seeds, on these examples.
- several seeds, others on one side than on the other: `crossed_apart`, or `unpaired_t`, over all of them.

There is no test, and the answer is None, where the data cannot carry one: one run against several, whose spread over
the seeds is then known on one side alone; differences that are all the same and not 0, of which every formula would
make a certainty (p = 0).
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.report.statistics.bootstrap import bootstrap
from bench.report.statistics.distributions import incomplete_beta, t_quantile, t_tail
from bench.report.statistics.intervals import CONFIDENCE, ROUNDING, Interval, paired_shares, standard_error

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
Error = tuple[float, float]  # a standard error with its degrees of freedom


def paired_p_values(pairs: "Sequence[tuple[Array, Array]]") -> list[float | None]:
    """Two-sided p-values of the first and the second of each pair having the same mean; None where there is no test.

    Args:
        pairs: outcomes of shape (runs, examples); run i of the first is paired with run i of the second.
    """
    found: dict[int, float | None] = {}
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
    """Exact two-sided p-value of McNemar's test: how the examples that only one got right divide between the two.

    It is twice P(X <= k) of n fair coins, where k is the smaller count, which is I_1/2(n - k, k + 1).
    """
    fewer, more = sorted((only_first, only_second))
    return min(1.0, 2 * incomplete_beta(more, fewer + 1, 0.5)) if more else 1.0


def paired_t(differences: Sequence[float]) -> float | None:
    """Two-sided p-value of the mean of the differences being zero by Student's t; None for fewer than two."""
    found = standard_error(differences)
    if found is None:  # nothing but zeros is no difference, whatever the spread
        return 1.0 if len(differences) > 1 and not any(differences) else None
    return t_tail(found[0] / found[1], len(differences) - 1)


def unpaired_t(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided p-value of two means being equal, of samples that nothing pairs and whose spreads may differ.

    It is Student's t with the degrees of freedom of the smaller sample (Hsu 1938), which is on the safe side: with two
    or three values Welch's approximation (1947) would find a difference where there is none in up to 10% of cases.
    None where a side has fewer than two values, or where neither has a spread.
    """
    fewest = min(len(first), len(second))
    if fewest < 2 or not all(map(math.isfinite, (*first, *second))):
        return None
    a, b = (standard_error(side) or (side[0], 0.0) for side in (first, second))
    return _tail(a[0] - b[0], [(math.hypot(a[1], b[1]), fewest - 1)])


def crossed(differences: "Array") -> float | None:
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
    return _tail(float(differences.mean()), _crossed_errors(differences))


def crossed_apart(first: "Array", second: "Array") -> float | None:
    """`crossed` for runs that nothing pairs, two or more on each side, which answer the same examples.

    The seeds of each side have a spread of their own; the examples are common. The variance of the difference is that
    over the seeds, plus that of the examples' differences of means, less that of the rest, which is in both; again it
    is never taken below one of the first two, and the p-value never below that of the seeds alone, by `unpaired_t`.
    """
    assert min(len(first), len(second)) > 1, "needs two runs on each side"
    examples = first.shape[1]
    squares = [(float(each.mean(axis=1).var(ddof=1)) / len(each), len(each) - 1) for each in (first, second)]
    seeds = squares[0][0] + squares[1][0]
    errors = [(math.sqrt(seeds), float(min(len(first), len(second)) - 1))]
    if examples > 1:
        gaps = first.mean(axis=0) - second.mean(axis=0)
        of_examples = float(gaps.var(ddof=1)) / examples, examples - 1
        rests = [(_rest(each) / each.size, (len(each) - 1) * (examples - 1)) for each in (first, second)]
        total = max(seeds + of_examples[0] - rests[0][0] - rests[1][0], seeds, of_examples[0])
        if total:
            spread = math.fsum(square**2 / degrees for square, degrees in (*squares, of_examples, *rests))
            errors.append((math.sqrt(total), total**2 / spread))
    return _tail(float(first.mean() - second.mean()), errors)


def paired_interval(first: "Array", second: "Array") -> Interval | None:
    """95% interval of the mean of first - second, outcomes of shape (runs, examples), run i paired with run i.

    Of one run that of two shares where outcomes are 0 or 1, else the bootstrap's over the examples; of several runs
    that which belongs to `crossed`. None where too few outcomes differ, or all differences are equal.
    """
    differences = first - second
    if len(differences) == 1 and _shares(first, second):
        return paired_shares(*_discordant(first, second), first.size)
    if len(differences) == 1:
        return bootstrap([differences[0]])[0].interval
    mean = float(differences.mean())
    errors = _usable(mean, _crossed_errors(differences))
    if not errors:
        return None
    half = max(t_quantile((1 + CONFIDENCE) / 2, degrees) * error for error, degrees in errors)
    return Interval(mean - half, mean + half)


def _crossed_errors(differences: "Array") -> list[Error]:
    """Standard errors of the grand mean: of the seeds alone, and of seeds and examples."""
    runs, examples = differences.shape
    assert runs > 1, "needs two runs"
    by_seed, by_example = differences.mean(axis=1), differences.mean(axis=0)
    seeds_alone = math.sqrt(float(by_seed.var(ddof=1)) / runs), float(runs - 1)
    if examples < 2:
        return [seeds_alone]
    squares = (
        examples * float(by_seed.var(ddof=1)),
        runs * float(by_example.var(ddof=1)),
        _rest(differences),
    )
    total = max(squares[0] + squares[1] - squares[2], squares[0], squares[1])
    if total == 0:
        return [seeds_alone]
    degrees = (runs - 1, examples - 1, (runs - 1) * (examples - 1))
    spread = sum(square**2 / each for square, each in zip(squares, degrees, strict=True))
    return [seeds_alone, (math.sqrt(total / (runs * examples)), total**2 / spread)]


def _rest(values: "Array") -> float:
    """Mean square of what neither the run (row) nor the example (column) explains."""
    runs, examples = values.shape
    rest = values - values.mean(axis=1)[:, None] - values.mean(axis=0)[None, :] + float(values.mean())
    return float((rest**2).sum()) / ((runs - 1) * (examples - 1))


def _tail(mean: float, errors: Sequence[Error]) -> float | None:
    """The largest p-value that one of `errors` gives; without any 1 for no difference, and None for another."""
    p_values = [t_tail(mean / error, degrees) for error, degrees in _usable(mean, errors)]
    return max(p_values, default=None if mean else 1.0)


def _usable(mean: float, errors: Sequence[Error]) -> list[Error]:
    """Those that are more than rounding; there are none where all is equal, which makes nothing certain."""
    return [each for each in errors if each[0] > ROUNDING * abs(mean)]


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
    """Holm's steps with Shaffer's counts, where each p-value compares a row with the one that came out best.

    The same data chose the best, so any pair might have been the one compared: with m rows left beside the best
    there are (m + 1) * m / 2 pairs whose equality may still be true (the counts of Shaffer 1986). Counting only the m
    comparisons, eight equal methods would yield a false difference in about one of eight tables instead of one of 20.
    """
    return holm(p_values, lambda left: (left + 1) * left // 2)

"""The few statistics that a table needs, exact and with the standard library alone, so that a table starts fast."""

import functools
import math
import operator
import random
from collections.abc import Callable, Sequence
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

CONFIDENCE = 0.95
RESAMPLES = 1000
BOOTSTRAP_EXAMPLES = 2000  # beyond this many the bootstrap of a mean equals the normal interval within its own noise


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float

    def margin(self, value: float) -> float:
        """The larger distance from `value` to an end: what stands behind ± in a table."""
        return max(self.high - value, value - self.low)


def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t with an integer number of degrees of freedom, for `probability` >= 0.5.

    The distribution function is a finite sum of powers of cos(theta), theta = arctan(t / sqrt(degrees))
    (Abramowitz and Stegun 26.7.3 and 26.7.4), inverted here by bisection to the last bits of theta.
    """
    assert degrees >= 1
    assert 0.5 <= probability < 1
    low, high, central = 0.0, math.pi / 2, 2 * probability - 1
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _central_probability(middle, degrees) < central else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _central_probability(theta: float, degrees: int) -> float:
    """P(|T| <= sqrt(degrees) * tan(theta))."""
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for power in range(2 + odd, degrees - 1, 2):
        term *= cosine * cosine * (power - 1) / power
        total += term
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Student's t interval of the mean; None for fewer than two values."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    mean = fmean(values)
    half = t_quantile((1 + confidence) / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(mean - half, mean + half)


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927): it stays in [0, 1], and is never empty at 0 or 1."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, scale = successes / trials, 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """Exact two-sided p-value of McNemar's test: are two sets of paired 0/1 outcomes equally often 1?"""
    only_first = sum(a > b for a, b in zip(first, second, strict=True))
    only_second = sum(a < b for a, b in zip(first, second, strict=True))
    discordant = only_first + only_second
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, float(2 * tail / 2**discordant))


def paired_bootstrap(differences: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Percentile interval of the mean of paired differences, by drawing examples anew; the same every time."""
    n = len(differences)
    if n == 1 or n > BOOTSTRAP_EXAMPLES:
        spread = NormalDist().inv_cdf((1 + confidence) / 2) * (stdev(differences) / math.sqrt(n) if n > 1 else math.inf)
        return Interval(fmean(differences) - spread, fmean(differences) + spread)
    means = sorted(math.fsum(draw(differences)) / n for draw in _draws(n))
    cut = round((1 - confidence) / 2 * RESAMPLES)
    return Interval(means[cut], means[RESAMPLES - 1 - cut])


@functools.lru_cache(maxsize=2)
def _draws(n: int) -> list[Callable[[Sequence[float]], tuple[float, ...]]]:
    """The resamples of n examples: drawn once, as getters, which read a sequence several times faster than a loop."""
    generator = random.Random(n)
    indices = list(range(n))
    return [operator.itemgetter(*generator.choices(indices, k=n)) for _ in range(RESAMPLES)]


def same_mean(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two equally long lists of paired outcomes cannot be told apart at the 5% level.

    Plain 0/1 outcomes are compared by McNemar's exact test, averages over seeds and losses by a paired bootstrap.
    """
    if {*first, *second} <= {0, 1}:
        return mcnemar(first, second) > 1 - CONFIDENCE
    low, high = paired_bootstrap([a - b for a, b in zip(first, second, strict=True)])
    return low <= 0 <= high


def same_over_seeds(first: Sequence[float], second: Sequence[float]) -> bool | None:
    """Whether two lists of results by the same seeds cannot be told apart by a paired t-test; None for one seed."""
    interval = mean_interval([a - b for a, b in zip(first, second, strict=True)])
    return None if interval is None else interval.low <= 0 <= interval.high

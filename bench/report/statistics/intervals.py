"""95% confidence intervals: over the seeds, and over the examples of one run."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from bench.report.statistics.distributions import NORMAL, t_quantile

CONFIDENCE = 0.95
ROUNDING = 1e-12  # a spread that is smaller, in proportion, is that of rounding


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float

    def margin(self, value: float) -> float:
        """The larger distance from `value` to an end: what stands behind ± in a table."""
        return max(self.high - value, value - self.low)


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Student's t interval of the mean; None for fewer than two values, for equal ones, or where one is not finite.

    Equal values have no interval since ±0 would be a certainty that a few runs cannot give.

    It is the interval over seeds. A bootstrap is no help with few of them: three seeds have ten different resamples,
    whose spread is by a factor (n - 1) / n too small, and its 95% interval covers the mean about 75 times in 100
    (`tests/report/test_coverage.py` measures both).
    """
    found = standard_error(values)
    if found is None:
        return None
    mean, error = found
    half = t_quantile((1 + confidence) / 2, len(values) - 1) * error
    return Interval(mean - half, mean + half) if math.isfinite(half) else None


def standard_error(values: Sequence[float]) -> tuple[float, float] | None:
    """The mean with its standard error; None where there is none: one value, equal ones, or one that is not finite."""
    n = len(values)
    if n < 2:
        return None
    average = sum(values) / n
    if not math.isfinite(average):
        return None
    error = math.dist(values, [average] * n) / math.sqrt(n * (n - 1))  # squares might overflow
    return None if error <= ROUNDING * max(max(values), -min(values)) else (average, error)


def mean(values: Sequence[float]) -> float:
    """The mean of one value or more; not finite where one is not, or where their sum is beyond every number."""
    try:
        return math.fsum(values) / len(values)
    except (ValueError, OverflowError):  # fsum refuses infinities of both signs, and sums that are too large
        return sum(values) / len(values)


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927): it stays in [0, 1], and is never empty at 0 or 1.

    It is the interval over the examples of one run for a metric that is 0 or 1 on each; a bootstrap would say ±0 for
    a run that is always right.
    """
    z = NORMAL.inv_cdf((1 + confidence) / 2)
    share, scale = successes / trials, 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def paired_shares(only_first: int, only_second: int, examples: int, confidence: float = CONFIDENCE) -> Interval:
    """Interval of the first share minus the second, both of the same examples (Agresti and Min 2005).

    Half an example is added to each of the four cells (right in both, in one, in the other, in none), so that the
    interval is never empty, not even where the two agree on every example, of which a bootstrap would make ±0.
    """
    total, parted, gap = examples + 2, only_first + only_second + 1, only_first - only_second
    half = NORMAL.inv_cdf((1 + confidence) / 2) * math.sqrt(parted - gap * gap / total) / total
    return Interval(max(-1.0, gap / total - half), min(1.0, gap / total + half))

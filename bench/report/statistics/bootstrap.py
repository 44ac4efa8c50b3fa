"""The bootstrap of a mean over examples: its interval, and the p-value of its being zero.

It is studentized and symmetric (Hall 1988): a resample's mean is measured in units of the resample's own standard
error, and the interval is mean ± q * standard error with q the 95% quantile of these ratios. By simulation this covers
at least as often as Student's t and as the percentiles of the resampled means, for skewed and for mostly zero outcomes
more often. Draws are seeded by the number of examples, so the same data give the same figures every time.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.report.statistics.distributions import t_tail
from bench.report.statistics.intervals import CONFIDENCE, Interval, mean_interval

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 9999
FEWEST, MOST = 20, 5000  # examples; outside, resampling is no better than Student's t, which is used instead
CHUNK = 500  # resamples at a time: bounds the memory to a few times CHUNK * MOST numbers
SAMPLES = 256  # samples at a time


class Bootstrapped(NamedTuple):
    """What the bootstrap says of one sample; the interval is None where the sample is too small for any."""

    interval: Interval | None
    p: float  # two-sided, of the mean being zero


def bootstrap(samples: "Sequence[np.ndarray[Any, Any]]") -> list[Bootstrapped]:
    """The mean of each sample; samples of one size share their draws, which is most of the work.

    A p-value that no resample reaches is Student's, but at most 1 / (RESAMPLES + 1): so corrections for many
    comparisons are not limited by the number of resamples.
    """
    import numpy as np

    found: dict[int, Bootstrapped] = {}
    sizes: dict[int, list[int]] = {}
    for place, sample in enumerate(samples):
        if FEWEST <= len(sample) <= MOST and np.ptp(sample) > 0:
            sizes.setdefault(len(sample), []).append(place)
        else:
            found[place] = Bootstrapped(mean_interval(sample.tolist()), _student(sample))
    for places in sizes.values():
        for start in range(0, len(places), SAMPLES):
            some = places[start : start + SAMPLES]
            found |= zip(some, _bootstrap(np.array([samples[place] for place in some])), strict=True)
    return [found[place] for place in range(len(samples))]


def _bootstrap(samples: "np.ndarray[Any, Any]") -> list[Bootstrapped]:
    """For samples in rows, of one size, none of them constant."""
    import numpy as np

    n = samples.shape[1]
    means = samples.mean(axis=1)
    errors = samples.std(axis=1, ddof=1) / math.sqrt(n)
    scaled = ((samples - means[:, None]) / samples.std(axis=1, keepdims=True)).astype(np.float32)
    ratios = _ratios(scaled)
    index = math.ceil(CONFIDENCE * (RESAMPLES + 1)) - 1
    cuts = np.partition(ratios, index, axis=0)[index]
    reached = (ratios >= np.abs(means / errors)[None, :]).sum(axis=0)
    found = []
    for sample, mean, error, cut, count in zip(samples, means, errors, cuts, reached, strict=True):
        half = float(cut * error)
        interval = Interval(float(mean) - half, float(mean) + half) if math.isfinite(half) else None
        p = (int(count) + 1) / (RESAMPLES + 1)
        found.append(Bootstrapped(interval or mean_interval(sample.tolist()), p if count else min(p, _student(sample))))
    return found


def _ratios(scaled: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """|mean| / standard error of each resample (rows) of each sample (columns), the samples centred on zero."""
    import numpy as np

    n = scaled.shape[1]
    generator = np.random.default_rng(n)
    both = np.concatenate([scaled, scaled**2]).T
    parts = []
    for start in range(0, RESAMPLES, CHUNK):
        rows = min(CHUNK, RESAMPLES - start)
        drawn = generator.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float32)
        mean, square = np.split(counts @ both / n, 2, axis=1)
        variance = square - mean**2
        error = np.sqrt(np.where(variance > 1e-6, variance, 0) / (n - 1))
        with np.errstate(divide="ignore", invalid="ignore"):  # all draws equal: infinitely far from zero
            parts.append(np.where(error > 0, np.abs(mean) / error, np.inf))
    return np.concatenate(parts)


def _student(sample: "np.ndarray[Any, Any]") -> float:
    """Two-sided p-value of the mean being zero by Student's t; 1 for a single value."""
    if len(sample) < 2:
        return 1.0
    mean, error = float(sample.mean()), float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return float(mean == 0) if error == 0 else t_tail(mean / error, len(sample) - 1)

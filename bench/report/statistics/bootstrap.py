"""The bootstrap of a mean over examples: its interval, and the p-value of its being zero.

It is studentized and symmetric (Hall 1988): a resample's mean is measured in units of the resample's own standard
error, and the interval is mean ± q * standard error with q the 95% quantile of these ratios. By simulation this covers
at least as often as Student's t and as the percentiles of the resampled means, for skewed and for mostly zero outcomes
more often. Draws are seeded by the number of examples, so the same data give the same figures every time.

No resampling makes up for outcomes that are not there: of 100 examples that are 0 but for three, the interval would
cover the mean 84 times in 100, and of constant ones it would be ±0. So a sample says nothing unless it is of 20 or
more outcomes of which 10 or more differ from the commonest. The interval then covers the mean in 93 to 97 of 100 cases,
and in more of them where outcomes are sparse (`tests/report/test_coverage.py` measures it).
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.report.statistics.distributions import t_tail
from bench.report.statistics.intervals import CONFIDENCE, Interval, mean_interval

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 9999
FEWEST = 20  # examples
MOST = 5000  # examples; beyond, resampling takes long and Student's t is as good, which is used instead
VARIED = 10  # outcomes that differ from the commonest; with fewer there is no interval and no test
VARIED_STUDENT = 200  # the same for Student's t, which needs more of them where they are skewed
LARGEST = 1e100  # beyond, squares are no longer finite
CHUNK = 500  # resamples at a time: bounds the memory to a few times CHUNK * MOST numbers
SAMPLES = 256  # samples at a time


class Bootstrapped(NamedTuple):
    """What the bootstrap says of one sample; nothing where too few of its outcomes differ."""

    interval: Interval | None = None
    p: float | None = None  # two-sided, of the mean being zero


def bootstrap(samples: "Sequence[np.ndarray[Any, Any]]") -> list[Bootstrapped]:
    """The mean of each sample; samples of one size share their draws, which is most of the work.

    A p-value that no resample reaches is Student's, but at most 1 / (RESAMPLES + 1): so corrections for many
    comparisons are not limited by the number of resamples.
    """
    import numpy as np

    found: dict[int, Bootstrapped] = {}
    sizes: dict[int, list[int]] = {}
    for place, sample in enumerate(samples):
        if not _varied(sample):
            found[place] = Bootstrapped(p=None if sample.any() else 1.0)  # what is always 0 is certainly no difference
        elif len(sample) <= MOST:
            sizes.setdefault(len(sample), []).append(place)
        else:
            found[place] = Bootstrapped(mean_interval(sample.tolist()), _student(sample))
    for places in sizes.values():
        for start in range(0, len(places), SAMPLES):
            some = places[start : start + SAMPLES]
            found |= zip(some, _bootstrap(np.array([samples[place] for place in some])), strict=True)
    return [found[place] for place in range(len(samples))]


def _varied(sample: "np.ndarray[Any, Any]") -> bool:
    """Whether enough outcomes differ for any method to say how far their mean is to be trusted."""
    import numpy as np

    if len(sample) < FEWEST or np.abs(sample).max() > LARGEST:
        return False
    commonest = np.unique(sample, return_counts=True)[1].max()
    return bool(len(sample) - commonest >= (VARIED if len(sample) <= MOST else VARIED_STUDENT))


def _bootstrap(samples: "np.ndarray[Any, Any]") -> list[Bootstrapped]:
    """For samples in rows, of one size, in each of which enough outcomes differ."""
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
        p = (int(count) + 1) / (RESAMPLES + 1)
        interval = Interval(float(mean) - half, float(mean) + half)
        found.append(Bootstrapped(interval, p if count else min(p, _student(sample))))
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
    """Two-sided p-value of the mean being zero by Student's t."""
    mean, error = float(sample.mean()), float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return t_tail(mean / error, len(sample) - 1)

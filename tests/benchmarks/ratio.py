"""How fast one thing is beside another, measured together: the only figures that hold on another machine.

Both are called in alternation in one process, so that a machine that grows slower does so for both; what counts is the
median of the ratios of neighbouring calls, with its bootstrap interval.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

RESAMPLES = 2000
Timed = Callable[[], float | None]


@dataclass(frozen=True)
class Ratio:
    """The median of some ratios, and the 95% interval of that median.

    Attributes:
        value: ours by the other's.
        low: 2.5% quantile of the bootstrapped medians.
        high: 97.5% quantile.
        rounds: pairs that were measured.
    """

    value: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> "Ratio":
        """The ratio of (ours, other), of any quantity, each pair measured one beside the other."""
        ratios = [ours / other for ours, other in pairs]
        draw = random.Random(0)
        medians = sorted(median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
        tail = RESAMPLES // 40
        return cls(median(ratios), medians[tail], medians[-tail - 1], len(ratios))


def compared(ours: Timed, other: Timed, rounds: int = 7, warmup: int = 1) -> Ratio:
    """Call both in turns, and compare their seconds.

    Args:
        ours: returns the seconds that count, or None where the whole call does.
        other: the same of what it is compared with.
        rounds: pairs of calls; each begins with what the one before ended with, so that neither is always first.
        warmup: pairs before them, which do not count.
    """
    pairs = []
    for number in range(warmup + rounds):
        if number % 2:
            second = _seconds(other)
            first = _seconds(ours)
        else:
            first = _seconds(ours)
            second = _seconds(other)
        pairs.append((first, second))
    return Ratio.of(pairs[warmup:])


def _seconds(call: Timed) -> float:
    began = time.perf_counter()
    told = call()
    return time.perf_counter() - began if told is None else told

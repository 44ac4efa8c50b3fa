"""How far predictions are from measurements, and how often they are wrong about what fits."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.advise.memory import Verdict
from bench.advise.points import OURS, Point
from bench.advise.units import GIB

UNDER = 0.02  # relative: a prediction this much below what was measured is counted
CARDS = (12, 16, 24, 40, 48, 80)  # GiB
AROUND = (0.8, 0.9, 0.95, 1.05, 1.1, 1.25)  # of what was measured, where no card is in question


@dataclass(frozen=True)
class Summary:
    """Relative errors of one estimator; shares, not percent.

    Attributes:
        count: of points it has something to say about.
        mape: mean of the absolute errors.
        median: of them.
        p95: 95th percentile of them.
        bias: mean of the errors with their sign; above 0 it predicts too much.
        under: share of the points that it predicts more than 2 % too low.
        inside: share of measurements in the interval of the prediction; None where there is none.
    """

    count: int
    mape: float
    median: float
    p95: float
    bias: float
    under: float
    inside: float | None = None


@dataclass(frozen=True)
class Fit:
    """How often each verdict was given on what did fit, and on what did not."""

    fitting: dict[str, int]
    not_fitting: dict[str, int]

    @property
    def wrong(self) -> int:
        """Called fitting what does not fit: the error that costs a run."""
        return self.not_fitting[Verdict.FITS]


def summary(points: Iterable[Point], estimator: str = OURS) -> Summary | None:
    """The errors of `estimator`; None if it says nothing of any of them."""
    pairs = [(point, value) for point in points if (value := point.predicted.get(estimator)) is not None]
    if not pairs:
        return None
    errors = [value / point.measured - 1 for point, value in pairs]
    sizes = sorted(map(abs, errors))
    inside = [point.low <= point.measured <= point.high for point, _ in pairs]
    return Summary(
        count=len(errors),
        mape=statistics.fmean(sizes),
        median=statistics.median(sizes),
        p95=percentile(sizes, 0.95),
        bias=statistics.fmean(errors),
        under=sum(error < -UNDER for error in errors) / len(errors),
        inside=sum(inside) / len(inside) if estimator == OURS else None,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of numbers in order, with linear interpolation, as numpy's default has it."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def groups(points: Iterable[Point], key: str) -> dict[str, Summary]:
    """Our errors for each value of `key`, which is `method`, `model` or `card`."""
    parts: dict[str, list[Point]] = {}
    for point in points:
        parts.setdefault(getattr(point, key), []).append(point)
    return {name: found for name in sorted(parts) if (found := summary(parts[name])) is not None}


def fit(points: Iterable[Point], cards: bool) -> Fit:
    """What would have been said of every point on every card, and what is true.

    Args:
        points: of memory.
        cards: on cards of the usual sizes; else with limits at shares of what was measured.
    """
    fitting, not_fitting = (dict.fromkeys(map(str, Verdict), 0) for _ in range(2))
    for point in points:
        limits = [size * GIB for size in CARDS] if cards else [share * point.measured for share in AROUND]
        for limit in limits:
            counts = fitting if point.measured <= limit else not_fitting
            counts[point.ours.verdict(limit)] += 1
    return Fit(fitting, not_fitting)

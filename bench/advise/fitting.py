"""Constants of the speed model from measured step times, of which two must be enough.

There are five constants and often fewer measurements, so they are held near those that they start from: what is
minimised is the sum of the squared errors of the logarithm of the step time, and of how far each constant's logarithm
has moved, each in units of what is expected of it (ridge regression, the mode of a Gaussian posterior). An error larger
than usual counts linearly (Huber 1964), so one disturbed run among several does not spoil the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.advise.card import Card, Constants
from bench.advise.speed import estimate
from bench.advise.trace import Trace

if TYPE_CHECKING:
    import numpy as np

NOISE = 0.03  # expected error of a predicted step time, relative
USUAL = 2.0  # times that; beyond it an error counts linearly
# How far a constant, in the order of `Constants`, may be expected to lie from where it starts, relative: shares vary
# less than times of a launch.
PRIOR = {"matmul": 0.15, "bandwidth": 0.15, "optimizer": 0.15, "kernel_s": 0.5, "host_s": 0.5}
MOST = {"matmul": 1.0, "bandwidth": 1.0, "optimizer": 1.0}  # a share of a peak
ROUNDS = 30
DIFFERENCE = 1e-4  # of a logarithm, for derivatives
ENOUGH = 1e-9  # of the cost: less is no progress


@dataclass(frozen=True)
class Measured:
    """A step's time that was measured, with the trace of that step; seconds."""

    trace: Trace
    step_seconds: float
    card: Card


def fit(measured: Sequence[Measured], start: Constants) -> Constants:
    """The constants that explain the step times best, near `start`.

    Args:
        measured: on one card, or on several of one family.
        start: where nothing is measured; such as the card's own, calibrated or not.

    Raises:
        ValueError: there is no measurement, or one that is no time.
    """
    import numpy as np

    if not measured:
        raise ValueError("constants cannot be fitted to nothing: no step was measured")
    for each in measured:
        if not each.step_seconds > 0:
            raise ValueError(f"a step's time must be > 0 seconds, got {each.step_seconds}")
    problem = _Problem(measured, start)
    point = problem.begin
    for _ in range(ROUNDS):  # Gauss-Newton; a step that does not lead down is halved
        step, cost = problem.step(point), problem.cost(point)
        shorter = (np.minimum(point + step / 2**halving, problem.most) for halving in range(8))
        better = next((each for each in shorter if problem.cost(each) < cost - ENOUGH), None)
        if better is None:
            break
        point = better
    return problem.constants(point)


class _Problem:
    """What is minimised, over the logarithms of the constants."""

    def __init__(self, measured: Sequence[Measured], start: Constants) -> None:
        import numpy as np

        self.measured = measured
        self.begin = np.log([getattr(start, name) for name in PRIOR])
        self.width = np.array(list(PRIOR.values()))
        self.most = np.maximum(np.log([MOST.get(name, np.inf) for name in PRIOR]), self.begin)

    def constants(self, point: "np.ndarray") -> Constants:
        import numpy as np

        matmul, bandwidth, optimizer, kernel, host = map(float, np.exp(point))
        return Constants(matmul, bandwidth, optimizer, kernel, host, evidence="fitted")

    def errors(self, point: "np.ndarray") -> "np.ndarray":
        """Of the step times' logarithms, in units of what is usual."""
        import numpy as np

        constants = self.constants(point)
        predicted = [estimate(m.trace, m.card, constants).step.value for m in self.measured]
        return np.log(np.array(predicted) / [m.step_seconds for m in self.measured]) / NOISE

    def cost(self, point: "np.ndarray") -> float:
        import numpy as np

        far = np.abs(self.errors(point))
        huber = np.where(far <= USUAL, far**2, USUAL * (2 * far - USUAL))
        return float(huber.sum() + (((point - self.begin) / self.width) ** 2).sum())

    def step(self, point: "np.ndarray") -> "np.ndarray":
        """To the minimum of the quadratic that the cost is like here."""
        import numpy as np

        now = self.errors(point)
        slopes = np.array([self.errors(point + DIFFERENCE * row) - now for row in np.eye(len(point))]).T / DIFFERENCE
        weighted = slopes.T / np.maximum(1, np.abs(now) / USUAL)
        curvature = weighted @ slopes + np.diag(self.width**-2)
        return np.linalg.solve(curvature, -(weighted @ now) - (point - self.begin) / self.width**2)

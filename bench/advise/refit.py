"""Step times told by constants that were fitted without the runs in question: of other methods, models or cards.

Only constants of the speed model are fitted to anything, so only times are told this way; memory rests on no
measurement.
"""

from dataclasses import replace

from bench.advise.card import DEFAULTS
from bench.advise.fitting import Measured, fit
from bench.advise.points import OURS, Compared, Point
from bench.advise.speed import estimate


def without_own(compared: Compared, key: str) -> list[Point]:
    """The step times, each told by constants fitted to the runs that differ in `key`, on the same family of cards.

    Args:
        compared: runs with their traces.
        key: `method`, `model` or `card`.

    Returns:
        None of those for which nothing is left to fit to.
    """
    steps = [(compared.points[at], *told) for at, told in compared.traces.items()]
    found = []
    for point, trace, card in steps:
        others = [
            Measured(its_trace, other.measured, its_card)
            for other, its_trace, its_card in steps
            if its_card.family == card.family and getattr(other, key) != getattr(point, key)
        ]
        if others:
            told = estimate(trace, card, fit(others, DEFAULTS[card.family])).step
            found.append(replace(point, predicted={OURS: told.value}, low=told.low, high=told.high))
    return found

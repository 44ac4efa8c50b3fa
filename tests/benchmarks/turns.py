"""Two trainings in turns, step by step, in one process: each step beside that of the other just before it.

A machine that others use too is slower for some seconds, now and then. Whole trainings one after the other are compared
with that in the one or in the other; neighbouring steps have it both.
"""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

from tests.benchmarks.ratio import Ratio

LIMIT_S = 300  # for one step of the other
_begins: ContextVar[Callable[[], None]] = ContextVar("_begins", default=lambda: None)  # of the thread that trains
Around = Callable[[], AbstractContextManager[Any]]


def begins() -> None:
    """To be called where a step begins: in `step_by_step` the other training takes a step of its own first."""
    _begins.get()()


def step_by_step(
    ours: Callable[[], object], other: Callable[[], object], warmup: int, around: Around = nullcontext
) -> Ratio:
    """Train both, and compare the seconds of their steps.

    Args:
        ours: a training that calls `begins` at the beginning of each step; it is prepared before the other.
        other: likewise, of as many steps.
        warmup: steps that do not count.
        around: a context for each step of ours; entering and leaving it is not timed.
    """
    return Ratio.of([*zip(*in_turns(ours, other, around), strict=True)][warmup:])


def in_turns(
    ours: Callable[[], object], other: Callable[[], object], around: Around = nullcontext
) -> tuple[list[float], list[float]]:
    """Train both, and give the seconds of every step of either but the last, which has no end."""
    turns = _Turns()
    threads = [
        threading.Thread(target=turns.take_part, args=(0, ours, around), daemon=True),
        threading.Thread(target=turns.take_part, args=(1, other, nullcontext), daemon=True),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in turns.errors:
        raise error
    return turns.seconds


class _Turns:
    """Whose turn it is, and what the steps of either took."""

    def __init__(self) -> None:
        self.seconds: tuple[list[float], list[float]] = [], []
        self.errors: list[BaseException] = []
        self._changed = threading.Condition()
        self._turn, self._ended = 0, [False, False]

    def take_part(self, own: int, train: Callable[[], object], around: Around) -> None:
        """Train in this thread, whenever it is its turn."""
        steps = self._steps(own, around)
        _begins.set(lambda: next(steps))
        try:
            self._wait(own)
            train()
        except BaseException as error:
            self.errors.append(error)
        finally:
            steps.close()
            with self._changed:
                self._ended[own], self._turn = True, 1 - own
                self._changed.notify_all()

    def _steps(self, own: int, around: Around) -> Generator[None]:
        """The step before has ended, and the next begins when the other's has ended too."""
        while True:
            self._give(own)
            self._wait(own)
            with around():
                began = time.perf_counter()
                yield
                self.seconds[own].append(time.perf_counter() - began)

    def _give(self, own: int) -> None:
        with self._changed:
            self._turn = own if self._ended[1 - own] else 1 - own
            self._changed.notify_all()

    def _wait(self, own: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._turn == own, LIMIT_S), "the other training has stopped"

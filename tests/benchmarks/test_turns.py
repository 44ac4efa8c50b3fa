"""Trainings in turns, on ones that only wait."""

import time
from collections.abc import Callable

import pytest

from tests.benchmarks.turns import begins, step_by_step


def waiting(seconds: float, seen: list[str], name: str, steps: int = 6) -> Callable[[], None]:
    def train() -> None:
        for _ in range(steps):
            begins()
            seen.append(name)
            time.sleep(seconds)

    return train


def test_steps_take_turns_and_are_compared() -> None:
    seen: list[str] = []
    ratio = step_by_step(waiting(0.02, seen, "a"), waiting(0.01, seen, "b"), warmup=1)
    assert "".join(seen) == "ab" * 6
    assert ratio.rounds == 4  # the last step has no end
    assert 1.5 < ratio.value < 2.5


def test_what_fails_is_told_when_both_have_ended() -> None:
    def fails() -> None:
        begins()
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        step_by_step(waiting(0.001, [], "a"), fails, warmup=1)
    with pytest.raises(ValueError, match="no more"):
        step_by_step(fails, waiting(0.001, [], "a"), warmup=1)


def test_trainings_of_different_lengths_are_not_compared() -> None:
    with pytest.raises(ValueError, match="zip"):
        step_by_step(waiting(0.001, [], "a", steps=5), waiting(0.001, [], "b"), warmup=1)

"""Arithmetic word problems: every answer is worked out a second time, from the wording alone."""

import re
from collections.abc import Callable

import pytest

from bench.config import Task
from bench.data import arithmetic
from bench.data.example import Example

# A phrase that only one wording has, and what a reader does with the numbers in the order in which they stand.
SOLUTIONS: dict[str, Callable[..., int]] = {
    "and buys": lambda a, b: a + b,
    "in one box": lambda a, b: a + b,
    "on Monday": lambda a, b: a + b,
    "of them to": lambda a, b: a - b,
    "A shop": lambda a, b: a - b,
    "fewer": lambda a, b: a - b,
    "fills": lambda a, b: a * b,
    "children": lambda a, b: a * b,
    "shares": lambda a, b: a / b,
    "in boxes of": lambda a, b: a / b,
    "loses": lambda a, b, c: a + b - c,
    "on a table": lambda a, b, c: a + b - c,
    "packs of": lambda a, b, c: a * b + c,
    "gave away": lambda a, b, c: a * b - c,
}


@pytest.fixture(scope="module")
def examples() -> tuple[Example, ...]:
    data = arithmetic.load(Task(name="arithmetic", source="arithmetic", train_examples=1500))
    return data.train + data.validation + data.test


def _phrase(example: Example) -> str:
    (phrase,) = (phrase for phrase in SOLUTIONS if phrase in example.prompt)
    return phrase


def test_every_answer_is_right(examples: tuple[Example, ...]):
    for example in examples:
        numbers = [int(n) for n in re.findall(r"\d+", example.prompt)]
        assert SOLUTIONS[_phrase(example)](*numbers) == int(example.completion), example.prompt
        assert all(0 < n <= arithmetic.LARGEST for n in (*numbers, int(example.completion)))


def test_the_rejected_answer_is_a_wrong_number(examples: tuple[Example, ...]):
    for example in examples:
        assert re.fullmatch(r" \d+", example.completion)
        assert re.fullmatch(r" \d+", example.rejected)
        assert example.rejected != example.completion


def test_every_wording_occurs(examples: tuple[Example, ...]):
    assert {_phrase(example) for example in examples} == set(SOLUTIONS)
    assert sum(len(kind.texts) for kind in arithmetic.KINDS) == len(SOLUTIONS)


def test_the_same_seed_gives_the_same_data():
    task = Task(name="arithmetic", source="arithmetic", train_examples=50)
    assert arithmetic.load(task).facts() == arithmetic.load(task).facts()
    other = Task(name="arithmetic", source="arithmetic", train_examples=50, seed=1)
    assert arithmetic.load(other).facts().fingerprint != arithmetic.load(task).facts().fingerprint


def test_the_default_sizes_fit_and_the_splits_are_disjoint():
    data = arithmetic.load(Task(name="arithmetic", source="arithmetic"))
    assert data.facts().sizes == {"train": 4000, "validation": 300, "test": 500}
    assert len({e.prompt for e in data.train + data.validation + data.test}) == 4800

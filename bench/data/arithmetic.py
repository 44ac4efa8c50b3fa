"""Task `arithmetic`: word problems of one or two steps, scored by exact match of the generated answer.

Made by seeded code, so it needs no network and its size is free. All numbers stay below 100, where a model of
a few million parameters can learn a part of it. The rejected answer is what a typical slip gives: the wrong
operation, a forgotten second step, or a result that is off by one or ten.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from bench.config import Task
from bench.data.example import TaskData
from bench.data.generated import splits

INSTRUCTION = "Solve the problem. Answer with a number alone."
LARGEST = 99  # of every number in a problem and of its answer

_NAMES = (
    "Anna", "Ben", "Chen", "Dora", "Emil", "Fatima", "George", "Hana",
    "Ivan", "Julia", "Kofi", "Lena", "Maria", "Noah", "Omar", "Priya",
)  # fmt: skip
_THINGS = (
    "apples", "balls", "books", "buttons", "cards", "coins", "eggs", "flowers",
    "keys", "marbles", "pens", "shells", "stamps", "stones", "tickets", "toys",
)  # fmt: skip


Numbers = tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """One kind of problem: how its numbers are drawn, its answer, a typical slip, and ways to tell it."""

    draw: Callable[[random.Random], Numbers]
    answer: Callable[..., int]
    slip: Callable[..., int]
    texts: tuple[str, ...]


def _sum(rng: random.Random) -> Numbers:
    a = rng.randint(2, LARGEST - 2)
    return a, rng.randint(2, LARGEST - a)


def _difference(rng: random.Random) -> Numbers:
    a = rng.randint(4, LARGEST)
    return a, rng.randint(2, a - 1)


def _product(rng: random.Random) -> Numbers:
    return rng.randint(2, 9), rng.randint(2, 9)


def _quotient(rng: random.Random) -> Numbers:
    a, b = _product(rng)
    return a * b, b


def _sum_less(rng: random.Random) -> Numbers:
    a, b = _sum(rng)
    return a, b, rng.randint(2, a + b - 1)


def _product_more(rng: random.Random) -> Numbers:
    a, b = _product(rng)
    return a, b, rng.randint(2, LARGEST - a * b)


def _product_less(rng: random.Random) -> Numbers:
    a, b = _product(rng)
    return a, b, rng.randint(2, a * b - 1)


KINDS = (
    Kind(_sum, lambda a, b: a + b, lambda a, b: abs(a - b), (
        "{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?",
        "There are {a} {things} in one box and {b} {things} in another. How many {things} are there in all?",
        "{name} finds {a} {things} on Monday and {b} on Tuesday. How many {things} is that together?",
    )),
    Kind(_difference, lambda a, b: a - b, lambda a, b: a + b, (
        "{name} had {a} {things} and gave {b} of them to {other}. How many {things} does {name} still have?",
        "A shop had {a} {things} and sold {b} of them. How many {things} remain?",
        "{name} has {a} {things} and {other} has {b}. How many fewer {things} does {other} have?",
    )),
    Kind(_product, lambda a, b: a * b, lambda a, b: a + b, (
        "{name} fills {a} bags with {b} {things} each. How many {things} is that?",
        "Each of {a} children brings {b} {things}. How many {things} do they bring?",
    )),
    Kind(_quotient, lambda a, b: a // b, lambda a, b: a - b, (
        "{name} shares {a} {things} equally among {b} friends. How many {things} does each friend get?",
        "{name} packs {a} {things} in boxes of {b}. How many boxes does {name} need?",
    )),
    Kind(_sum_less, lambda a, b, c: a + b - c, lambda a, b, c: a + b, (
        "{name} has {a} {things}, gets {b} from {other} and loses {c}. How many {things} are left?",
        "{name} puts {a} {things} on a table and {other} adds {b}. Then {c} are taken away. "
        "How many {things} are on the table now?",
    )),
    Kind(_product_more, lambda a, b, c: a * b + c, lambda a, b, c: a * b, (
        "{name} buys {a} packs of {b} {things} and finds {c} more. How many {things} does {name} have?",
    )),
    Kind(_product_less, lambda a, b, c: a * b - c, lambda a, b, c: a * b, (
        "{name} had {a} bags of {b} {things} and gave away {c} {things}. How many {things} are left?",
    )),
)  # fmt: skip


def load(task: Task) -> TaskData:
    """The task's splits, of the configured sizes; `task.seed` decides what they hold."""
    return splits(task, INSTRUCTION, _problem)


def _problem(rng: random.Random) -> tuple[str, str, str]:
    kind = rng.choice(KINDS)
    numbers = kind.draw(rng)
    name, other = rng.sample(_NAMES, 2)
    slots = dict(zip("abc", numbers, strict=False)) | {"name": name, "other": other, "things": rng.choice(_THINGS)}
    question = rng.choice(kind.texts).format(**slots)
    right = kind.answer(*numbers)
    wrong = [n for n in (kind.slip(*numbers), right + 1, right - 1, right + 10, right - 10) if n != right and n >= 0]
    return question, str(right), str(rng.choice(wrong))

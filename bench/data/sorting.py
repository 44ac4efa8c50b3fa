"""Task `sorting`: put numbers or words in the order that is asked for; pairs of a right and a wrong order.

A preference task whose better answer is a matter of fact and that needs no network. The wrong order has the
right items and a mistake that people and models make: two items swapped, the direction reversed, numbers
compared as if they were text.
"""

import random
from collections.abc import Callable
from typing import Any

from bench.config import Task
from bench.data.example import TaskData
from bench.data.generated import splits

INSTRUCTION = "Put the items in the order that is asked for."
_LENGTHS = (3, 4, 5)  # how many items

WORDS = (
    "ox", "cat", "sun", "map", "egg", "tea", "fish", "moon", "lamp", "rain", "door", "ship", "apple", "bread",
    "chair", "grass", "horse", "night", "river", "stone", "table", "water", "bottle", "castle", "flower", "garden",
    "island", "jacket", "letter", "market", "orange", "pencil", "winter", "blanket", "captain", "evening", "feather",
    "harvest", "journey", "kitchen", "library", "morning", "painter", "umbrella", "elephant", "mountain", "notebook",
    "sandwich", "telephone", "butterfly", "crocodile", "strawberry", "television", "helicopter",
)  # fmt: skip


def _numbers(rng: random.Random, count: int) -> list[str]:
    return [str(n) for n in rng.sample(range(100), count)]


def _words(rng: random.Random, count: int) -> list[str]:
    return rng.sample(WORDS, count)


def _words_of_different_lengths(rng: random.Random, count: int) -> list[str]:
    lengths = rng.sample(sorted({len(word) for word in WORDS}), count)
    return [rng.choice([word for word in WORDS if len(word) == length]) for length in lengths]


Items = Callable[[random.Random, int], list[str]]
Key = Callable[[str], Any]

# What is asked, how the items are drawn, what they are compared by, and whether the largest comes first.
ORDERS: tuple[tuple[str, Items, Key, bool], ...] = (
    ("Smallest first", _numbers, int, False),
    ("Largest first", _numbers, int, True),
    ("In alphabetical order", _words, str, False),
    ("In reverse alphabetical order", _words, str, True),
    ("Shortest word first", _words_of_different_lengths, len, False),
    ("Longest word first", _words_of_different_lengths, len, True),
)


def load(task: Task) -> TaskData:
    """The task's splits, of the configured sizes; `task.seed` decides what they hold."""
    return splits(task, INSTRUCTION, _question)


def _question(rng: random.Random) -> tuple[str, str, str]:
    asked, draw, key, descending = rng.choice(ORDERS)
    items = draw(rng, rng.choice(_LENGTHS))
    right = sorted(items, key=key, reverse=descending)
    wrong = rng.choice([order for order in _mistakes(rng, right, descending) if order != right])
    return f"{asked}: {', '.join(items)}", ", ".join(right), ", ".join(wrong)


def _mistakes(rng: random.Random, right: list[str], descending: bool) -> list[list[str]]:
    first, second = rng.sample(range(len(right)), 2)
    swapped = right.copy()
    swapped[first], swapped[second] = right[second], right[first]
    return [swapped, right[::-1], sorted(right, reverse=descending)]

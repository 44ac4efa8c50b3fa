"""Preference pairs of orders: the chosen one obeys the question, the rejected one has the same items and does not."""

from itertools import pairwise

import pytest

from bench.config import Task
from bench.data import sorting
from bench.data.example import Example


@pytest.fixture(scope="module")
def examples() -> tuple[Example, ...]:
    data = sorting.load(Task(name="sorting", source="sorting", train_examples=1500))
    return data.train + data.validation + data.test


def _question(example: Example) -> tuple[str, list[str]]:
    asked, _, items = example.prompt.split("\n\n")[1].partition(": ")
    return asked, items.split(", ")


def _obeys(asked: str, items: list[str]) -> bool:
    """Whether each item may stand before the next one."""
    before = {
        "Smallest first": lambda a, b: int(a) < int(b),
        "Largest first": lambda a, b: int(a) > int(b),
        "In alphabetical order": lambda a, b: a < b,
        "In reverse alphabetical order": lambda a, b: a > b,
        "Shortest word first": lambda a, b: len(a) < len(b),
        "Longest word first": lambda a, b: len(a) > len(b),
    }[asked]
    return all(before(a, b) for a, b in pairwise(items))


def test_the_chosen_order_obeys_and_the_rejected_one_does_not(examples: tuple[Example, ...]):
    for example in examples:
        asked, items = _question(example)
        chosen = example.completion.removeprefix(" ").split(", ")
        rejected = example.rejected.removeprefix(" ").split(", ")
        assert sorted(chosen) == sorted(rejected) == sorted(items)
        assert _obeys(asked, chosen), example
        assert not _obeys(asked, rejected), example


def test_every_order_is_asked_for(examples: tuple[Example, ...]):
    assert {_question(example)[0] for example in examples} == {asked for asked, *_ in sorting.ORDERS}


def test_numbers_compared_as_text_are_among_the_mistakes(examples: tuple[Example, ...]):
    questions = [(e, *_question(e)) for e in examples]
    numeric = [(e, items) for e, asked, items in questions if asked == "Smallest first"]
    assert any(e.rejected == f" {', '.join(sorted(items))}" for e, items in numeric)


def test_words_are_distinct():
    assert len(set(sorting.WORDS)) == len(sorting.WORDS)


def test_the_same_seed_gives_the_same_data():
    task = Task(name="sorting", source="sorting", train_examples=50)
    assert sorting.load(task).facts() == sorting.load(task).facts()
    other = Task(name="sorting", source="sorting", train_examples=50, seed=1)
    assert sorting.load(other).facts().fingerprint != sorting.load(task).facts().fingerprint


def test_the_default_sizes_fit_and_the_splits_are_disjoint():
    data = sorting.load(Task(name="sorting", source="sorting"))
    assert data.facts().sizes == {"train": 4000, "validation": 300, "test": 500}
    assert len({e.prompt for e in data.train + data.validation + data.test}) == 4800

"""Splits made by seeded code: sizes, stability, and what happens when a generator runs dry."""

import random

import pytest

from bench.config import Task
from bench.data.generated import SIZES, splits


def _pair(rng: random.Random) -> tuple[str, str, str]:
    n = rng.randrange(60)
    return f"{n}?", str(n), str(n + 1)


def _task(**settings: int) -> Task:
    return Task(
        name="t", source="t", **({"train_examples": 30, "validation_examples": 10, "test_examples": 5} | settings)
    )


def test_every_split_has_the_size_asked_for_and_no_prompt_twice():
    data = splits(_task(), "Say it.", _pair)
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, 5)
    examples = data.train + data.validation + data.test
    assert len({e.prompt for e in examples}) == len({e.id for e in examples}) == 45
    assert data.test[0].prompt.startswith("Say it.\n\n")
    assert data.test[0].prompt.endswith("?\n\nAnswer:")
    assert data.test[0].completion == f" {data.test[0].prompt.split()[2].rstrip('?')}"


def test_a_larger_training_split_leaves_the_others_as_they_were():
    small, large = (splits(_task(train_examples=size), "", _pair) for size in (10, 40))
    assert large.train[:10] == small.train
    assert (large.validation, large.test) == (small.validation, small.test)


def test_the_task_s_seed_decides_the_data():
    assert splits(_task(seed=1), "", _pair) == splits(_task(seed=1), "", _pair)
    assert splits(_task(seed=1), "", _pair).test != splits(_task(seed=2), "", _pair).test


def test_a_size_beyond_what_can_be_made_is_refused_with_its_key():
    with pytest.raises(ValueError, match=r"task\.train_examples must be <= 45 here, got 46"):
        splits(_task(train_examples=46), "", _pair)


def test_exampless_that_the_task_leaves_open():
    data = splits(Task(), "", lambda rng: (f"{rng.random()}", "", ""))
    assert {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)} == SIZES

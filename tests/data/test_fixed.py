"""Rows of exactly as many tokens as are asked for, whatever the tokenizer makes of a letter."""

import pytest
from transformers import AutoTokenizer

from bench.config import Task
from bench.data import fixed, tasks
from bench.data.tokens import IGNORED, tokenise, training_row
from bench.models.locate import resolve


@pytest.fixture(scope="module")
def embedded():
    return AutoTokenizer.from_pretrained(resolve("embedded:tiny-llama"))


def _task(length: int, **sizes: int) -> Task:
    return Task(name="fixed", source="fixed", kind="preference", preferences=True, max_length=length, **sizes)


@pytest.mark.parametrize("length", [8, 9, 64, 512, 1024, 4096])
def test_a_row_has_its_length_and_half_of_it_is_answer(length, embedded):
    (tokens,) = tokenise(fixed.load(_task(length)).train, embedded, length)
    row = training_row(tokens)
    assert len(row["input_ids"]) == length
    assert sum(label != IGNORED for label in row["labels"]) == length // 2
    assert len(tokens.rejected) == len(tokens.completion)
    assert sorted(tokens.rejected) == sorted(tokens.completion)


def test_a_tokenizer_that_splits_letters_makes_rows_of_the_same_length(tiny_llama):
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    examples = fixed.load(_task(64, train_examples=4)).train
    assert len(tokenizer(examples[0].prompt)["input_ids"]) > 40
    for tokens in tokenise(examples, tokenizer, 64):
        assert len(tokens.prompt) + len(tokens.completion) == 64
        assert len(tokens.prompt) + len(tokens.rejected) == 64


def test_sizes_are_those_of_the_task_and_splits_have_nothing_in_common():
    data = tasks.load(_task(256, train_examples=4, validation_examples=2))
    assert data.facts().sizes == {"train": 4, "validation": 2, "test": 1}
    assert data.leaked == {"validation": 0, "test": 0}
    prompts = [e.prompt for e in data.train + data.validation + data.test]
    assert len(set(prompts)) == 7


def test_the_seed_of_the_task_decides_the_rows():
    first, same, other = (fixed.load(_task(64, seed=seed)).train for seed in (0, 0, 1))
    assert first == same != other
    assert first[0].completion != first[0].rejected

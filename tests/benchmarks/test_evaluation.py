"""Evaluation beside what is usual: batches in the order of the file, padded on the left, `generate` without more.

Both give loss and predictions of the same rows in float32, and the predictions must be the same.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.config import Data, Model, Task
from bench.data import tasks
from bench.data.example import Example, TaskData
from bench.data.shots import draw, with_shots
from bench.data.tokens import tokenise
from bench.evaluate.batches import Room
from bench.evaluate.generate import cut, greedy
from bench.evaluate.scores import evaluate
from bench.models.load import load
from tests.benchmarks.conftest import Hold
from tests.benchmarks.ratio import compared

BATCH = 50  # rows, as huggingface/peft's method_comparison evaluates
WRITE = Task(name="docstrings", kind="generation", max_length=384, max_new_tokens=128, stop=["\n\n"])
CHOOSE = Task()
Found = tuple[float, list[str]]  # loss in nats per token, predictions


@pytest.fixture(scope="module")
def base() -> tuple[Any, Any]:
    """The embedded model and its tokenizer."""
    model, tokenizer = load(Model(), "cpu", None, torch.float32)
    return model.eval(), tokenizer


@pytest.fixture(scope="module")
def pydoc() -> TaskData:
    return tasks.load(CHOOSE, Data())


def cut_anywhere(examples: Sequence[Example], count: int) -> tuple[Example, ...]:
    """Docstrings to be gone on with from any place: prompts of 5 to 130 tokens, answers of 1 to 128."""
    draws = random.Random(0)
    found = []
    for example in examples[:count]:
        text = str(example.prompt).split("\n\n", 1)[1].rsplit("\n\n", 1)[0]
        at = int(len(text) * draws.uniform(0.2, 0.9))
        found.append(replace(example, prompt=text[:at], completion=text[at:], rejected=None))
    return tuple(found)


def in_file_order(model: Any, tokenizer: Any, examples: Sequence[Example], task: Task) -> Found:
    """Loss of the completions and generated answers, batch by batch."""
    settings, pad = greedy(model, tokenizer, task), tokenizer.pad_token_id
    answers: list[str] = []
    loss = tokens = 0.0
    rows = tokenise(examples, tokenizer, task.max_length)
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        loss, tokens = loss + summed(model, pad, part).sum().item(), tokens + sum(len(t.completion) for t in part)
        widest = max(len(t.prompt) for t in part)
        ids = torch.tensor([[pad] * (widest - len(t.prompt)) + t.prompt for t in part])
        mask = torch.tensor([[0] * (widest - len(t.prompt)) + [1] * len(t.prompt) for t in part])
        texts = tokenizer if task.stop else None
        written = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings, tokenizer=texts)
        answers += [cut(text, task.stop) for text in tokenizer.batch_decode(written[:, widest:], True)]
    return loss / tokens, answers


def summed(model: Any, pad: int, rows: Sequence[Any]) -> torch.Tensor:
    """Negative log-probability of each completion, from the logits of all places."""
    whole = [t.prompt + t.completion for t in rows]
    widest = max(map(len, whole))
    ids = torch.tensor([row + [pad] * (widest - len(row)) for row in whole])
    labels = torch.full_like(ids, -100)
    for i, t in enumerate(rows):
        labels[i, len(t.prompt) : len(whole[i])] = torch.tensor(t.completion)
    mask = torch.arange(widest) < torch.tensor([len(row) for row in whole])[:, None]
    logits = model(input_ids=ids, attention_mask=mask.long()).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none").sum(1)


def every_choice_in_file_order(
    model: Any, tokenizer: Any, examples: Sequence[Example], choices: Sequence[str]
) -> Found:
    """Every choice behind its prompt as a row of its own, batch by batch."""
    pairs = [replace(e, completion=choice, rejected=None) for e in examples for choice in choices]
    rows = tokenise(pairs, tokenizer, CHOOSE.max_length)
    scores = [summed(model, tokenizer.pad_token_id, rows[i : i + BATCH]) for i in range(0, len(rows), BATCH)]
    table = torch.cat(scores).view(len(examples), len(choices))
    right = torch.tensor([choices.index(e.completion) for e in examples])
    lengths = [len(rows[i * len(choices) + int(at)].completion) for i, at in enumerate(right)]
    return float(table[range(len(right)), right].sum()) / sum(lengths), [choices[i] for i in table.argmin(1).tolist()]


def held(
    hold: Hold, name: str, base: tuple[Any, Any], data: TaskData, task: Task, usual: Callable[..., Found], rounds: int
) -> None:
    """Compare the evaluation of `data.test` with the usual one, which must find the same."""
    found: dict[str, Found] = {}

    def ours() -> None:
        scores, outcomes = evaluate(*base, data, data.test, task, Room())
        assert scores.loss is not None
        found["ours"] = scores.loss, [str(o.prediction) for o in outcomes]

    @torch.no_grad()
    def other() -> None:
        found["usual"] = usual(*base, data.test, task)

    ratio = compared(other, ours, rounds=rounds)
    assert found["ours"][1] == found["usual"][1]
    assert len(set(found["ours"][1])) > 3
    assert found["ours"][0] == pytest.approx(found["usual"][0], rel=1e-4)
    hold(name, ratio, at_least=3.0)


@pytest.mark.benchmark
def test_answers_of_any_length(hold: Hold, base: tuple[Any, Any], pydoc: TaskData):
    examples = cut_anywhere(pydoc.test, 150)
    held(hold, "evaluation, generated answers", base, generating(examples), WRITE, in_file_order, 3)


@pytest.mark.benchmark
def test_few_shot_prompts(hold: Hold, base: tuple[Any, Any], pydoc: TaskData):
    shots, rest = draw(cut_anywhere(pydoc.test, 54), 4, 0)
    examples = with_shots(rest, shots)
    held(hold, "evaluation, four-shot answers", base, generating(examples), WRITE, in_file_order, 3)


@pytest.mark.benchmark
@pytest.mark.regression
def test_choices(hold: Hold, base: tuple[Any, Any], pydoc: TaskData):
    data = replace(pydoc, test=pydoc.test[:30])

    def usual(model: Any, tokenizer: Any, examples: Sequence[Example], task: Task) -> Found:
        return every_choice_in_file_order(model, tokenizer, examples, data.choices)

    held(hold, "evaluation, 16 choices", base, data, CHOOSE, usual, 3)


def generating(examples: tuple[Example, ...]) -> TaskData:
    return TaskData("", examples, examples, examples, (), "generation")

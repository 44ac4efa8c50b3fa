"""The task `pydoc`: form, splits that share nothing, and the same data in every process."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.config import Task
from bench.data import pydoc, stdlib, tasks
from bench.data.example import TaskData

ROOT = Path(__file__).resolve().parents[2]


def test_sixteen_choices_and_every_completion_is_one_of_them(pydoc_data: TaskData):
    examples = pydoc_data.train + pydoc_data.validation + pydoc_data.test
    assert len(pydoc_data.choices) == len(set(pydoc_data.choices)) == 16
    assert {e.completion for e in examples} == set(pydoc_data.choices)
    assert {e.rejected for e in examples} == set(pydoc_data.choices)
    assert all(e.rejected != e.completion for e in examples)


def test_every_split_has_every_module(pydoc_data: TaskData):
    for split in (pydoc_data.train, pydoc_data.validation, pydoc_data.test):
        counts = Counter(e.completion for e in split)
        assert counts.keys() == set(pydoc_data.choices)
        assert max(counts.values()) < len(split) / 4


def test_a_prompt_asks_shows_the_beginning_and_ends_before_the_answer(pydoc_data: TaskData):
    texts = {f"{d.path}:{d.name}:{d.lines[0]}": d.text for d in stdlib.task_docstrings()}
    (end,) = {e.prompt.rpartition("\n\n")[2] for e in pydoc_data.train}
    assert end.endswith("odule:")
    cut = 0
    for example in pydoc_data.test:
        whole = texts[example.id]
        text = example.prompt.removeprefix(f"{pydoc_data.instruction}\n\n").removesuffix(f"\n\n{end}")
        assert example.prompt == f"{pydoc_data.instruction}\n\n{text}\n\n{end}"
        if text != whole:
            cut += 1
            assert whole.startswith(text.removesuffix(" ...").rstrip())
            assert text.endswith(" ...")
            assert 120 < len(text) <= 244
            assert len(whole) > 240
    assert 0 < cut < len(pydoc_data.test)


def test_splits_share_no_id_and_no_text(pydoc_data: TaskData):
    texts = {f"{d.path}:{d.name}:{d.lines[0]}": " ".join(d.text.split()) for d in stdlib.task_docstrings()}
    ids = [e.id for split in (pydoc_data.train, pydoc_data.validation, pydoc_data.test) for e in split]
    assert len(ids) == len(set(ids)) == len({texts[i] for i in ids})


def test_no_held_out_text_is_a_part_of_one_to_train_on(pydoc_data: TaskData):
    texts = {f"{d.path}:{d.name}:{d.lines[0]}": " ".join(d.text.split()) for d in stdlib.task_docstrings()}
    train = "\n".join(texts[e.id] for e in pydoc_data.train)
    assert [e.id for e in pydoc_data.validation + pydoc_data.test if texts[e.id] in train] == []


def test_the_seed_of_the_task_changes_order_and_wrong_answers_alone(pydoc_data: TaskData):
    other = pydoc.load(Task(seed=1))
    for split in ("train", "validation", "test"):
        first, second = getattr(pydoc_data, split), getattr(other, split)
        assert [e.id for e in first] != [e.id for e in second]
        assert {(e.id, e.prompt, e.completion) for e in first} == {(e.id, e.prompt, e.completion) for e in second}
    assert {(e.id, e.rejected) for e in pydoc_data.test} != {(e.id, e.rejected) for e in other.test}
    assert pydoc.load(Task()) == pydoc_data


def test_another_process_has_the_same_fingerprint(pydoc_data: TaskData):
    code = "from bench.config import Task; from bench.data import pydoc; print(pydoc.load(Task()).facts().fingerprint)"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == pydoc_data.facts().fingerprint
    assert len(done.stdout.strip()) == 64


def test_facts_count_the_splits_and_the_commonest_answer(pydoc_data: TaskData):
    facts = pydoc_data.facts()
    assert facts.sizes == {name: len(getattr(pydoc_data, name)) for name in ("train", "validation", "test")}
    answers = [e.completion for e in pydoc_data.test]
    assert facts.majority_accuracy == max(map(answers.count, answers)) / len(answers)
    assert 1 / 16 < facts.majority_accuracy < 0.25


def test_exampless_cut_the_splits_from_their_beginning(pydoc_data: TaskData):
    cut = tasks.load(Task(train_examples=20, validation_examples=7, test_examples=5))
    assert cut.train == pydoc_data.train[:20]
    assert cut.validation == pydoc_data.validation[:7]
    assert cut.test == pydoc_data.test[:5]
    assert cut.facts().fingerprint != pydoc_data.facts().fingerprint
    assert tasks.load(Task(train_examples=10**6)).train == pydoc_data.train


@pytest.mark.parametrize("text", ["One line.", "x" * 240])
def test_a_short_text_is_shown_whole(text: str):
    docstring = stdlib.Docstring("json", "json/a.py", "f", "function", text, (3, 3))
    assert f"\n\n{text}\n\n" in pydoc._example(docstring, 0).prompt

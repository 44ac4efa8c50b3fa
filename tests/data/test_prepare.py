"""The last step before tokens: chat templates, pieces of documents, and the general text."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.config import Data, Task
from bench.data import stdlib
from bench.data.example import Example, Message, TaskData
from bench.data.prepare import general_text, prepare
from bench.data.rows import DataError

TASK = Task(name="t", max_length=32)
TEXT = "Open the file and read its lines one by one. " * 20


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)


def data(example: Example, kind: str) -> TaskData:
    return TaskData("", (example,), (example,), (example,), kind=kind)


def test_conversations_become_text(tokenizer: Any):
    example = Example("1", (Message("system", "Be brief."), Message("user", "Say one.")), "one", "two")
    found = prepare(data(example, "preference"), tokenizer, TASK, Data(template="chatml"))
    (written,) = found.train
    assert isinstance(written.prompt, str)
    assert written.prompt.index("Be brief.") < written.prompt.index("Say one.")
    assert written.completion.startswith("one")
    assert written.rejected is not None
    assert written.rejected.startswith("two")
    assert written.references == ("one",)
    assert found.validation == found.test == found.train


def test_choices_among_the_answers_of_conversations_are_written_as_the_answers_are(tokenizer: Any):
    asked = (Message("user", "Is it good?"),)
    parts = (Example("1", asked, "yes", "no"), Example("2", asked, "no", "yes"))
    whole = TaskData("", parts, parts, parts, choices=("no", "yes"), kind="classification")
    found = prepare(whole, tokenizer, TASK, Data(template="chatml"))
    no, yes = found.choices
    assert no.startswith("no")
    assert [(e.completion, e.rejected) for e in found.test] == [(yes, no), (no, yes)]


def test_text_is_left_as_it_is(tokenizer: Any):
    whole = data(Example("1", "Say one.", " one"), "generation")
    assert prepare(whole, tokenizer, TASK, Data()) == whole


def test_documents_are_cut_and_only_training_pieces_overlap(tokenizer: Any):
    whole = data(Example("1", "", TEXT), "text")
    apart = prepare(whole, tokenizer, TASK, Data())
    overlapping = prepare(whole, tokenizer, TASK, Data(stride=8))
    assert "".join(e.completion for e in apart.train) == TEXT
    assert len(overlapping.train) > len(apart.train) > 5
    assert overlapping.test == apart.test == apart.train
    assert all(len(tokenizer(e.completion)["input_ids"]) <= 30 for e in overlapping.train)
    with pytest.raises(ValueError, match=r"^data\.stride"):
        prepare(whole, tokenizer, replace(TASK, max_length=10), Data(stride=8))


def test_the_general_text_is_one_s_own_or_the_standard_library_s(tmp_path: Path):
    for name, text in (("a.txt", "one"), ("b.jsonl", '{"text": "two"}\n{"text": "three"}')):
        (tmp_path / name).write_text(text)
    assert general_text(Data(general=str(tmp_path))) == "one\n\ntwo\n\nthree"
    assert general_text(Data()) == stdlib.general_text()
    (tmp_path / "b.jsonl").write_text('{"body": "two"}')
    with pytest.raises(DataError, match=r"b\.jsonl, line 1, field 'text': expected a text, found the fields body$"):
        general_text(Data(general=str(tmp_path)))

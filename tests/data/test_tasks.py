"""From a configuration to data: sources, sizes, and text from data sets of the Hub's form."""

import json
from pathlib import Path

import pytest

from bench.config import Task
from bench.data import tasks


def text_task(folder: Path, **settings: object) -> Task:
    given = {"name": "texts", "source": "hub", "path": str(folder), "kind": "text", "preferences": False} | settings
    return Task(**given)  # type: ignore[arg-type]


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of three splits, as files in a folder."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "texts"
    folder.mkdir()
    for split, count in (("train", 4), ("validation", 2), ("test", 3)):
        lines = [{"text": f"{split} text {i}", "title": "T"} for i in range(count)] + [{"text": " \n", "title": "T"}]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_an_unknown_source_is_refused_with_what_was_meant():
    with pytest.raises(ValueError, match=r"^task\.source: there is no 'pydocs'; did you mean 'pydoc'\?$"):
        tasks.load(Task(source="pydocs"))


def test_every_source_can_be_imported_and_loads():
    for source in set(tasks.SOURCES) - {"hub"}:
        data = tasks.load(Task(name=source, source=source, train_size=3, validation_size=2, test_size=1))
        assert data.facts().sizes == {"train": 3, "validation": 2, "test": 1}
        assert data.instruction


def test_texts_are_examples_without_a_prompt_and_empty_ones_are_left_out(texts: Path):
    data = tasks.load(text_task(texts))
    assert [e.completion for e in data.train] == [f"train text {i}" for i in range(4)]
    assert data.facts().sizes == {"train": 4, "validation": 2, "test": 3}
    assert {(e.prompt, e.rejected) for e in data.train} == {("", None)}
    assert [e.id for e in data.test] == ["test-0", "test-1", "test-2"]
    assert data.facts().majority_accuracy is None
    assert not data.choices


def test_another_column_of_text(texts: Path):
    assert {e.completion for e in tasks.load(text_task(texts, text_column="title")).test} == {"T"}
    with pytest.raises(ValueError, match=r"^task\.text_column: \S+ has no column 'body', only text, title$"):
        tasks.load(text_task(texts, text_column="body"))


def test_a_missing_split_is_named(texts: Path):
    (texts / "validation.jsonl").unlink()
    with pytest.raises(ValueError, match=r"^task\.path: the data set \S+ has no split 'validation', only train, test$"):
        tasks.load(text_task(texts))


def test_an_empty_split_is_named(texts: Path):
    (texts / "test.jsonl").write_text(json.dumps({"text": "", "title": ""}))
    with pytest.raises(ValueError, match=r"^task=texts: the test split is empty$"):
        tasks.load(text_task(texts))

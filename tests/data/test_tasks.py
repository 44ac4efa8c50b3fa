"""From a configuration to data: sources, splits, sizes, few-shot prompts, and what is counted on the way."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.config import Data, Split, Task
from bench.data import tasks
from bench.data.example import Example, Message, TaskData
from bench.data.rows import DataError


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of three splits in the form of the Hub's, as files in a folder."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "texts"
    folder.mkdir()
    for split, count in (("train", 4), ("validation", 2), ("test", 3)):
        rows = [{"text": f"{split} text {i}", "title": "T"} for i in range(count)] + [{"text": " \n", "title": "T"}]
        write(folder / f"{split}.jsonl", rows)
    return folder


def hub(folder: Path, **settings: Any) -> Task:
    given = {"name": "texts", "source": "hub", "path": str(folder), "kind": "text", "completion": "{{ text }}"}
    return Task(**(given | {"where": "text | trim"} | settings))


FILE = Task(name="file", source="file", kind="auto")


@pytest.fixture
def labelled(tmp_path: Path) -> str:
    """40 texts with two labels, sorted by label."""
    rows = [{"text": f"text number {i} is {'good' if i < 20 else 'bad'}", "label": "ba"[i < 20]} for i in range(40)]
    return write(tmp_path / "labelled.jsonl", rows)


def test_an_unknown_source_is_refused_with_what_was_meant():
    with pytest.raises(ValueError, match=r"^task\.source: there is no 'pydocs'; did you mean 'pydoc'\?$"):
        tasks.load(Task(source="pydocs"))


@pytest.mark.parametrize("source", tasks.GENERATED)
def test_every_generated_task_loads(source: str):
    data = tasks.load(Task(name=source, source=source, train_examples=3, validation_examples=2, test_examples=1))
    assert data.facts().sizes == {"train": 3, "validation": 2, "test": 1}
    assert data.instruction
    assert data.facts().leaked == {"validation": 0, "test": 0}


def test_a_data_set_of_the_hub_and_what_its_task_leaves_out(texts: Path):
    data = tasks.load(hub(texts))
    assert [e.completion.strip() for e in data.train] == [f"train text {i}" for i in range(4)]
    facts = data.facts()
    assert facts.sizes == {"train": 4, "validation": 2, "test": 3}
    assert facts.skipped == {f"{split}: left out by task.where": 1 for split in ("train", "validation", "test")}
    assert {(e.prompt, e.rejected) for e in data.train} == {("", None)}
    assert facts.majority_accuracy is None
    assert facts.kind == "text"


def test_a_split_that_the_task_does_not_have_is_taken_from_train(texts: Path):
    data = tasks.load(hub(texts, validation=Split(split="none")), Data(validation_share=0.5))
    assert len(data.train) + len(data.validation) == 4
    assert data.validation
    assert len(data.test) == 3


def test_a_split_of_another_data_set(texts: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    write(other / "test.jsonl", [{"body": "elsewhere"}])
    place = Split(path=str(other), split="test", completion="{{ body }}")
    data = tasks.load(hub(texts, test=place, where=""), Data(on_error="skip"))
    assert [e.completion.strip() for e in data.test] == ["elsewhere"]


def test_a_missing_split_is_named(texts: Path):
    (texts / "validation.jsonl").unlink()
    with pytest.raises(ValueError, match=r"^task\.path: cannot load \S+, split validation: "):
        tasks.load(hub(texts))


def test_an_empty_split_is_named(texts: Path):
    write(texts / "test.jsonl", [{"text": "", "title": ""}])
    with pytest.raises(ValueError, match=r"^task=texts: the test split is empty$"):
        tasks.load(hub(texts))


def test_local_files_stand_in_for_a_data_set_of_the_hub(tmp_path: Path):
    place = write(tmp_path / "own.jsonl", [{"text": f"own {i}"} for i in range(30)])
    data = tasks.load(hub(Path("no/such-data-set")), Data(train=place))
    assert len(data.train) + len(data.validation) + len(data.test) == 30
    assert data.files.keys() == {place}


def test_a_file_of_one_s_own_tells_its_kind_and_its_labels(labelled: str):
    data = tasks.load(FILE, Data(train=labelled, validation_share=0.2, test_share=0.2))
    assert data.kind == "classification"
    assert data.choices == (" a", " b")
    everything = (*data.train, *data.validation, *data.test)
    assert len(everything) == 40
    assert all(e.rejected in data.choices and e.rejected != e.completion for e in everything)
    again = tasks.load(FILE, Data(train=labelled, validation_share=0.2, test_share=0.2))
    assert again == data


def test_a_label_that_train_does_not_have_is_refused(labelled: str, tmp_path: Path):
    test = write(tmp_path / "test.jsonl", [{"text": "x", "label": "a"}, {"text": "x", "label": "A"}])
    with pytest.raises(DataError, match=r"test\.jsonl, line 2, field 'label': expected one of a, b, found 'A'"):
        tasks.load(FILE, Data(train=labelled, test=test))


def test_few_examples_are_drawn_from_everywhere_and_more_keep_them(labelled: str):
    def train(count: int) -> list[Example]:
        return list(tasks.load(Task(**(vars(FILE) | {"train_examples": count})), Data(train=labelled)).train)

    few, more = train(6), train(12)
    assert (len(few), len(more)) == (6, 12)
    assert all(e in more for e in few)
    assert len({e.completion for e in few}) == 2


def test_rows_that_cannot_be_used_stop_or_are_counted_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    good = [{"instruction": f"Say {i}", "output": str(i)} for i in range(30)]
    place = write(tmp_path / "own.jsonl", [*good, {"instruction": "Say nothing", "output": None}])
    with pytest.raises(DataError, match=r"own\.jsonl, line 31, field 'output'"):
        tasks.load(FILE, Data(train=place))
    data = tasks.load(FILE, Data(train=place, on_error="skip"))
    assert data.facts().skipped == {"train: cannot be used": 1}
    assert f"train: skipped: {place}, line 31, field 'output'" in capsys.readouterr().out
    assert data.kind == "generation"


def test_training_examples_that_are_in_the_test_split_are_counted(tmp_path: Path):
    rows = [{"prompt": f"Question {i}: what comes after {i}?", "completion": f" {i + 1}"} for i in range(20)]
    train, test = write(tmp_path / "train.jsonl", rows), write(tmp_path / "test.jsonl", rows[:3])
    data = tasks.load(FILE, Data(train=train, test=test))
    assert data.facts().leaked["test"] == sum(e.completion in (" 1", " 2", " 3") for e in data.train) > 0
    assert data.facts().leaked["validation"] == 0


def test_shots_stand_in_front_of_every_prompt_and_train_nobody(labelled: str):
    plain = tasks.load(FILE, Data(train=labelled))
    data = tasks.load(Task(**(vars(FILE) | {"shots": 2})), Data(train=labelled))
    assert len(data.train) == len(plain.train) - 2
    assert all(str(e.prompt).count("Label:") == 3 for e in (*data.train, *data.validation, *data.test))
    (example, *_), (bare, *_) = data.test, plain.test
    assert str(example.prompt).endswith(str(bare.prompt))
    shots = str(example.prompt).removesuffix(str(bare.prompt))
    shown = [text.partition("\n\nLabel:")[0] for text in shots.removesuffix("\n\n").split("\n\ntext")]
    assert len(shown) == 2
    assert not any(str(e.prompt).count(text) > 1 for text in shown for e in data.train)


def test_shots_of_conversations_are_turns_behind_the_system_prompt(tmp_path: Path):
    rows = [{"instruction": f"Say {i}", "output": f"{i}", "system": "Be brief."} for i in range(30)]
    task = Task(**(vars(FILE) | {"shots": 1}))
    data = tasks.load(task, Data(train=write(tmp_path / "own.jsonl", rows)))
    messages = data.test[0].prompt
    assert isinstance(messages, tuple)
    assert [m.role for m in messages] == ["system", "user", "assistant", "user"]
    assert messages[0] == Message("system", "Be brief.")
    assert messages[2].content == messages[1].content.removeprefix("Say ")


def test_a_single_long_text_has_something_for_every_split(tmp_path: Path):
    place = tmp_path / "long.txt"
    place.write_text("\n\n".join(f"Paragraph {i}. " + "Some words follow. " * 30 for i in range(80)))
    data = tasks.load(FILE, Data(train=str(place)))
    assert data.kind == "text"
    assert min(len(part) for part in (data.train, data.validation, data.test)) > 0
    texts = [e for part in (data.train, data.validation, data.test) for e in part]
    texts.sort(key=lambda e: int(e.id.rpartition("@")[2]))
    assert "".join(e.completion for e in texts) == place.read_text()
    assert max(len(e.completion) for e in texts) <= 2000


def test_files_of_one_name_in_two_folders_have_ids_of_their_own(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "part.jsonl", [{"prompt": f"{folder} {i}", "completion": "x"} for i in range(20)])
    data = tasks.load(FILE, Data(train=str(tmp_path)))
    ids = [e.id for part in (data.train, data.validation, data.test) for e in part]
    assert len(ids) == len(set(ids)) == 40


def test_a_wrong_label_can_be_skipped(labelled: str, tmp_path: Path):
    test = write(tmp_path / "test.jsonl", [{"text": "x", "label": "a"}, {"text": "x", "label": "A"}])
    data = tasks.load(FILE, Data(train=labelled, test=test, on_error="skip"))
    assert data.skipped == {"test: cannot be used": 1}
    assert len(data.test) == 1


def test_more_shots_than_examples(labelled: str):
    with pytest.raises(ValueError, match=r"^task\.shots must be < \d+, the training examples there are, got 400$"):
        tasks.load(Task(**(vars(FILE) | {"shots": 400})), Data(train=labelled))


def data(kind: str, choices: tuple[str, ...] = (), rejected: str | None = None) -> TaskData:
    one = (Example("1", "p", " a", rejected),)
    return TaskData("", one, one, one, choices, kind)


@pytest.mark.parametrize(
    ("task", "kind", "objective", "reason"),
    [
        (data("classification", (" a", " b")), "classifier", "sft", None),
        (
            data("generation"),
            "classifier",
            "sft",
            "a classifier needs a task with fixed answers, and this one is of kind generation",
        ),
        (data("text"), "seq2seq", "sft", "a model with an encoder needs prompts, and plain text has none"),
        (data("generation"), "seq2seq", "sft", None),
        (data("generation"), "causal", "dpo", "the task has no rejected answers to learn from"),
        (data("generation"), "causal", "kto", "the task has no rejected answers to learn from"),
        (data("generation", rejected=" b"), "causal", "dpo", None),
        (data("text"), "causal", "sft", None),
    ],
)
def test_what_does_not_go_together_is_said_in_words(task: TaskData, kind: str, objective: str, reason: str | None):
    assert tasks.unsuited(task, kind, objective) == reason

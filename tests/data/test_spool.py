"""Many examples in a file are the same as in memory."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.config import Data, Task
from bench.data import spool, tasks
from bench.data.example import Example, Message

TURNS = (Message("system", "be brief"), Message("user", "嗨, \ud83d"))
EXAMPLES = (
    Example("a", "prompt", " right", " wrong", (" right", " wrong"), ("right",)),
    Example("b", TURNS, "", None),
    *(Example(f"{number}", f"{number} +", " 1") for number in range(spool.BATCH)),
)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than ten examples go into a file."""
    for module in (spool, tasks.splits, tasks.read):
        monkeypatch.setattr(module, "FEW", 10)


def test_what_is_written_is_read(tmp_path: Path, few: None) -> None:
    spool.write(tmp_path / "file", EXAMPLES)
    found = spool.read(tmp_path / "file")
    assert isinstance(found, spool.Spooled)
    assert tuple(found) == EXAMPLES
    assert len(found) == len(EXAMPLES)
    assert [found[i] for i in (0, 1, -1, spool.BATCH)] == [EXAMPLES[i] for i in (0, 1, -1, spool.BATCH)]
    assert found[1:3] == EXAMPLES[1:3]
    with pytest.raises(IndexError):
        found[len(EXAMPLES)]


def test_few_stay_in_memory(tmp_path: Path) -> None:
    assert spool.spool(iter(EXAMPLES)) == EXAMPLES
    spool.write(tmp_path / "file", EXAMPLES)
    assert spool.read(tmp_path / "file") == EXAMPLES
    assert spool.spool(()) == ()


def test_many_are_never_in_memory_all_at_once(few: None) -> None:
    alive: set[int] = set()
    most = 0

    class Watched(Example):
        def __del__(self) -> None:
            alive.discard(id(self))

    def made() -> Iterator[Example]:
        nonlocal most
        for number in range(10_000):
            example = Watched(str(number), "p", "c")
            alive.add(id(example))
            most = max(most, len(alive))
            yield example
            del example

    found = spool.spool(made())
    assert isinstance(found, spool.Spooled)
    assert (len(found), found[9_999].id) == (10_000, "9999")
    assert most <= spool.BATCH
    assert spool.spool(found) is found


@pytest.mark.parametrize("shares", [{}, {"validation_share": 0.2, "test_share": 0.1}, {"test_share": 1e-9}])
def test_a_task_of_many_examples_is_that_of_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: dict[str, float]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"text": "{n} is a number", "label": "{n % 3}"}}\n' for n in range(400)))
    settings = Data(train=str(path), **shares) if shares else Data(*[str(path)] * 3)
    task = Task(name="own", source="file", kind="auto", train_examples=50, shots=2)
    known = tasks.load(task, settings)
    for module in (spool, tasks.splits, tasks.read):
        monkeypatch.setattr(module, "FEW", 10)
    found = tasks.load(task, settings)
    assert isinstance(found.train, spool.Spooled)
    for name in tasks.SPLITS:
        assert list(getattr(found, name)) == list(getattr(known, name))
    assert found.facts() == known.facts()


@pytest.mark.parametrize("place", [None, 0, 2, spool.BATCH + 3])
def test_whether_any_prompt_is_a_conversation(tmp_path: Path, place: int | None) -> None:
    texts = ['[["user", "x"]]', '", [', "\\", '\\", [[', "plain"] * spool.BATCH
    examples = [Example(text, text, "answer") for text in texts]
    if place is not None:
        examples[place] = Example(texts[place], (Message("user", "x"),), "answer")
    spool.write(tmp_path / "file", examples)
    assert spool.conversational(spool.Spooled(tmp_path / "file")) is (place is not None)
    assert spool.conversational(examples) is (place is not None)


@pytest.mark.parametrize("place", [None, 0, spool.BATCH + 3])
def test_whether_all_have_a_rejected_answer(tmp_path: Path, place: int | None) -> None:
    examples = [Example(str(number), "p", "right", "wrong") for number in range(spool.BATCH + 5)]
    if place is not None:
        examples[place] = replace(examples[place], rejected=None)
    spool.write(tmp_path / "file", examples)
    assert spool.paired(spool.Spooled(tmp_path / "file")) is (place is None)
    assert spool.paired(examples) is (place is None)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="tells which files are mapped")
def test_a_file_that_is_read_is_not_mapped(tmp_path: Path) -> None:
    spool.write(tmp_path / "file", EXAMPLES)
    found = spool.Spooled(tmp_path / "file")
    assert list(found) == list(EXAMPLES)
    assert str(tmp_path) not in Path("/proc/self/smaps").read_text()

"""What was read or tokenised before is the same as what is read now, and nothing else is ever taken for it."""

import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.config import Data, Run, Task
from bench.data import known, sources, tasks
from bench.data.tokens import labelled, sizes, widths
from bench.method import get
from bench.train import loop

TASK = Task(name="sorting", source="sorting", train_examples=40, validation_examples=10, test_examples=10)
OWN = Task(name="own", source="file", kind="auto")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNEBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """The tasks that were really read."""
    found: list[Task] = []
    load = tasks.load

    def counted(task: Task, settings: Data) -> Any:
        found.append(task)
        return load(task, settings)

    monkeypatch.setattr(tasks, "load", counted)
    return found


def own(tmp_path: Path, rows: int = 30) -> Data:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"text": "{n} is a number", "label": "{n % 2}"}}\n' for n in range(rows)))
    settings = Data(train=str(path), validation_share=0.2, test_share=0.2)
    return replace(settings, content=sources.content(settings))


def test_a_task_is_read_once(reads: list[Task]) -> None:
    first = known.load(TASK, Data())
    assert known.load(TASK, Data()) == first
    assert len(reads) == 1
    data, facts, key = first
    assert data == tasks.load(TASK, Data())
    assert facts == data.facts()
    assert key


def test_another_task_or_another_library_is_read_anew(reads: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {known.load(TASK, Data())[2], known.load(replace(TASK, seed=1), Data())[2]}
    keys |= {known.load(TASK, Data(template="plain"))[2]}
    monkeypatch.setattr(known.kept, "code", lambda *packages: "other sources")
    keys |= {known.load(TASK, Data())[2]}
    assert len(keys) == len(reads) == 4
    pydoc = Task(name="pydoc", source="pydoc")
    before = known._key(pydoc, Data())
    assert known._key(pydoc, Data()) == before
    monkeypatch.setattr(known.stdlib, "signature", lambda: "of another version")
    assert known._key(pydoc, Data()) != before


def test_own_files_are_known_by_their_content(tmp_path: Path, reads: list[Task]) -> None:
    settings = own(tmp_path)
    first = known.load(OWN, settings)
    assert known.load(OWN, settings) == first
    assert len(reads) == 1
    other = own(tmp_path, rows=31)
    assert sum(known.load(OWN, other)[1].sizes.values()) == 31
    assert len(reads) == 2


def test_a_file_that_has_changed_since_the_run_was_planned_is_not_kept(tmp_path: Path, reads: list[Task]) -> None:
    settings = own(tmp_path)
    own(tmp_path, rows=31)
    for _ in range(2):
        _, facts, key = known.load(OWN, settings)
        assert (sum(facts.sizes.values()), key) == (31, "")
    assert len(reads) == 2


def test_data_of_another_machine_is_not_kept(cache: Path) -> None:
    assert known._key(OWN, Data(train="https://example.org/rows.jsonl", content="a")) == ""
    assert known._key(Task(name="hub", source="hub", path="org/name"), Data()) == ""


@pytest.mark.parametrize("ending", [".json", ".train.arrow"])
def test_damage_costs_time_alone(cache: Path, reads: list[Task], ending: str) -> None:
    first = known.load(TASK, Data())
    for content in (b"", b"{}", b"ARROW1 and then nothing"):
        [path] = cache.glob(f"*{ending}")
        path.write_bytes(content)
        assert known.load(TASK, Data()) == first
    path.unlink()
    assert known.load(TASK, Data()) == first
    assert len(reads) == 5


@pytest.mark.parametrize("named", ["", "/dev/null"])
def test_there_need_be_no_cache(named: str, monkeypatch: pytest.MonkeyPatch, reads: list[Task], model: Any) -> None:
    monkeypatch.setenv("TUNEBENCH_CACHE", named)
    for _ in range(2):
        data, _, key = known.load(TASK, Data())
        assert len(rows(data, model, key)) == 40
    assert len(reads) == 2


@pytest.fixture(scope="module")
def model(tiny_llama: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)


def rows(data: Any, tokenizer: Any, key: str, method: str = "lora", seed: int = 0, kind: str = "causal") -> Any:
    return loop.rows(Run(get(method)(), task=TASK, seed=seed), data.train, tokenizer, kind, data.choices, key)


@pytest.mark.parametrize(("method", "kind"), [("lora", "causal"), ("dpo", "causal"), ("lora", "seq2seq")])
def test_rows_are_tokenised_once(cache: Path, model: Any, method: str, kind: str) -> None:
    data, _, key = known.load(TASK, Data())
    new = rows(data, model, "", method, kind=kind)
    for seed in range(2):
        found = rows(data, model, key, method, seed, kind)
        assert found.features == new.features
        assert found[:] == new[:]
        assert [str(cache)] == [str(Path(each["filename"]).parent) for each in found.cache_files]
    assert len(list(cache.glob("*.arrow"))) == len(tasks.SPLITS) + 1


def test_other_rows_are_others(cache: Path, model: Any) -> None:
    data, _, key = known.load(TASK, Data())
    before = len(list(cache.iterdir()))
    rows(data, model, key)
    rows(data, model, key, "dpo")
    rows(data, model, key, "kto")
    rows(data, model, key, "kto", seed=1)  # draws its pairs
    model.add_tokens(["unheard"])
    rows(data, model, key)
    assert len(list(cache.iterdir())) == before + 5


def test_damaged_rows_are_made_anew(cache: Path, model: Any) -> None:
    data, _, key = known.load(TASK, Data())
    before = set(cache.iterdir())
    good = rows(data, model, key)[:]
    [path] = set(cache.iterdir()) - before
    path.write_bytes(b"no arrow")
    assert rows(data, model, key)[:] == good


def test_the_lengths_of_rows_are_those_of_lists(model: Any) -> None:
    data = tasks.load(TASK)
    found = rows(data, model, "")
    assert sizes(found, "input_ids").tolist() == [len(ids) for ids in found["input_ids"]] == widths(found).tolist()
    part = found.select([3, 1])
    assert widths(part).tolist() == [len(found[3]["input_ids"]), len(found[1]["input_ids"])]
    marked = [sum(label != -100 for label in labels) for labels in found["labels"]]
    assert labelled(found) == sum(marked) / len(marked)
    assert labelled(part) == (marked[3] + marked[1]) / 2


def _load(_: int) -> Any:
    return known.load(TASK, Data())


def test_two_processes_write_the_same(cache: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, *others = pool.map(_load, range(4), chunksize=1)
    assert all(other == first for other in others)
    assert first == known.load(TASK, Data())
    assert not list(cache.glob("*.tmp"))


@pytest.mark.parametrize("length", [1, 500])
def test_rows_are_written_by_their_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """Or long ones would take all the memory, and short ones lie in so many pieces that their lengths fill it."""
    monkeypatch.setattr(known, "_folder", lambda: tmp_path)
    monkeypatch.setattr(known, "TOGETHER", 10_000)
    found = known.dataset("key", "", lambda: ({"input_ids": [7] * length} for _ in range(30_001)))
    assert len(found) == 30_001
    pieces = [len(chunk) * length for chunk in found.data.column("input_ids").chunks]
    assert set(pieces[:-1]) == {10_000}
    assert 0 < pieces[-1] <= 10_000

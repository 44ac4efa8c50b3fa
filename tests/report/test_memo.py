"""What is remembered between two tables, when it is forgotten, and that nothing depends on it."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records import store as record_store
from bench.records.cache_dir import cache_dir
from bench.records.find import signature
from bench.records.kept import settled
from bench.records.schema import Record
from bench.report import outcomes
from bench.report.memo import NAME, Memo, key
from bench.report.table import build

Make = Callable[..., Record]
Store = Callable[..., Path]
Texts = list[str]


@pytest.fixture
def runs(make: Make, store: Store) -> tuple[list[Record], list[Path]]:
    """Two methods with outcomes of 40 test examples each."""
    right = {"sft": [1] * 30 + [0] * 10, "lora": [1] * 20 + [0] * 20}
    records = [make(method, accuracy=sum(each) / 40) for method, each in right.items()]
    return records, [store(record, right[record.method]) for record in records]


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every examples.jsonl whose lines are parsed from now on."""
    seen: list[Path] = []

    def read(path: Path) -> list[dict[str, object]]:
        seen.append(path)
        return record_store.read_lines(path)

    monkeypatch.setattr(outcomes, "read_lines", read)
    return seen


def shown(runs: tuple[list[Record], list[Path]]) -> Texts:
    """All there is to see of the column that rests on examples."""
    (section,) = build(*runs).sections
    cells = [row.cells["test_accuracy"] for row in section.rows]
    return [f"{cell.text()} {cell.interval} {cell.p} {cell.p_adjusted}" for cell in cells]


def test_a_second_table_reads_no_examples_and_is_the_same(
    runs: tuple[list[Record], list[Path]], files_read: list[Path], cache: Path
) -> None:
    first = shown(runs)
    assert sorted(files_read) == sorted(folder / "examples.jsonl" for folder in runs[1]), "each file once"
    assert (cache / NAME).is_file()
    files_read.clear()
    assert shown(runs) == first
    assert files_read == []


def test_a_file_that_changed_is_read_again_and_one_that_was_only_touched_is_not(
    runs: tuple[list[Record], list[Path]], files_read: list[Path]
) -> None:
    first = shown(runs)
    files_read.clear()
    path = runs[1][0] / "examples.jsonl"
    os.utime(path, (0, 0))
    assert shown(runs) == first
    assert files_read == [], "its content is known under another time"
    lines = path.read_text().splitlines(keepends=True)
    swapped = [line.replace('"correct": 1', '"correct": 9') for line in lines]  # the same size; no column reads it
    path.write_text("".join(swapped))
    assert shown(runs) == first
    assert path in files_read


def test_another_value_in_the_record_is_another_question(runs: tuple[list[Record], list[Path]]) -> None:
    assert "Interval" in shown(runs)[0]
    for record in runs[0]:
        record.evaluation.test.metrics["accuracy"].value = 0.123 + len(record.method) / 100  # type: ignore[union-attr]
    assert all("Interval" not in text for text in shown(runs)), "the outcomes no longer belong to the records"


def test_a_new_version_of_the_method_forgets(
    runs: tuple[list[Record], list[Path]], files_read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(runs)
    files_read.clear()
    monkeypatch.setattr(outcomes, "VERSION", outcomes.VERSION + 1)
    shown(runs)
    assert len(files_read) == 2


def test_an_empty_variable_switches_it_off(
    runs: tuple[list[Record], list[Path]], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    first = shown(runs)
    (cache / NAME).unlink()
    monkeypatch.setenv("TUNEBENCH_CACHE", "")
    assert cache_dir() is None
    assert shown(runs) == first
    assert not (cache / NAME).exists()


def test_the_folder_is_the_users_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBENCH_CACHE", "~/elsewhere")
    assert cache_dir() == Path.home() / "elsewhere"
    monkeypatch.delenv("TUNEBENCH_CACHE")
    found = cache_dir()
    assert found is not None
    assert found.name == "tunebench"


def test_a_damaged_memo_is_ignored_and_made_anew(runs: tuple[list[Record], list[Path]], cache: Path) -> None:
    first = shown(runs)
    (cache / NAME).write_bytes(b"no database at all" * 100)
    assert shown(runs) == first
    assert shown(runs) == first
    assert (cache / NAME).read_bytes().startswith(b"SQLite format 3")


def test_a_place_that_cannot_be_written_is_ignored(
    runs: tuple[list[Record], list[Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = shown(runs)
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("TUNEBENCH_CACHE", str(blocked / "below"))  # below a file there is no folder
    assert shown(runs) == first


def test_a_memo_that_another_process_holds_is_ignored(
    runs: tuple[list[Record], list[Path]], cache: Path, files_read: list[Path]
) -> None:
    first = shown(runs)
    with sqlite3.connect(cache / NAME) as other:
        other.execute("BEGIN EXCLUSIVE")
        files_read.clear()
        assert shown(runs) == first
        assert len(files_read) == 2
    other.close()


def test_many_writers_at_once_lose_nothing_that_was_saved(tmp_path: Path) -> None:
    path = tmp_path / NAME

    def write(number: int) -> None:
        memo = Memo(path)
        memo.add({key(number, i): (float(i), None) for i in range(50)})
        memo.save()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = [key(number, i) for number in range(4) for i in range(50)]
    assert Memo(path).known(wanted) == {key(number, i): (float(i), None) for number in range(4) for i in range(50)}


def test_it_starts_afresh_when_it_has_grown_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memo = Memo(tmp_path / NAME)
    memo.add({key(1): (1.0, 2.0)})
    memo.save()
    assert Memo(tmp_path / NAME).known([key(1)]) == {key(1): (1.0, 2.0)}
    monkeypatch.setattr("bench.report.memo.LARGEST_BYTES", 10)
    assert Memo(tmp_path / NAME).known([key(1)]) == {}


def test_what_rests_on_a_damaged_file_is_named_every_time(runs: tuple[list[Record], list[Path]]) -> None:
    (runs[1][0] / "examples.jsonl").write_text("{\n{}\n")
    for _ in range(2):
        (section,) = build(*runs).sections
        assert any("line 1 is not valid JSON" in note for note in section.notes)


def test_no_examples_leave_no_memo(make: Make, store: Store, cache: Path) -> None:
    record = make()
    build([record], [store(record)])
    assert not (cache / NAME).exists()


def test_what_is_remembered_needs_no_numpy(runs: tuple[list[Record], list[Path]], tmp_path: Path) -> None:
    """Which takes a tenth of a second to import."""
    shown(runs)
    code = (
        "import sys; from bench.report.cli import main; assert main(sys.argv[1:]) == 0; "
        "print('numpy' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    assert "±" in done.stdout
    assert done.stderr.strip() == "False"


def test_the_content_of_a_file_that_changed_a_moment_ago_is_not_kept(tmp_path: Path, cache: Path) -> None:
    """Another change within the same tick of the clock would leave size, times and inode as they are."""
    path = tmp_path / "examples.jsonl"
    path.write_text("{}\n")
    memo = Memo(cache / NAME)
    memo.content(path)
    memo.save()
    assert kept(cache) == 0
    path.write_text("{}\n\n")
    wait_until_settled(path)
    memo = Memo(cache / NAME)
    first = memo.content(path)
    memo.save()
    assert kept(cache) == 1
    assert Memo(cache / NAME).content(path) == first


def kept(cache: Path) -> int:
    """Files whose content is known."""
    if not (cache / NAME).exists():
        return 0
    with sqlite3.connect(cache / NAME) as connection:
        (count,) = connection.execute("SELECT count(*) FROM files").fetchone()
    connection.close()
    return int(count)


def wait_until_settled(path: Path) -> None:
    """Until a change of `path` would show."""
    while not settled(signature(str(path)) or (0, 0, 0, 0), time.time_ns()):
        time.sleep(0.05)


def test_a_folder_in_which_others_may_write_keeps_no_memo(
    runs: tuple[list[Record], list[Path]], cache: Path, files_read: list[Path]
) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    first = shown(runs)
    assert not (cache / NAME).exists()
    files_read.clear()
    assert shown(runs) == first
    assert len(files_read) == 2

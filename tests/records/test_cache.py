"""The cache of records: faster, never wrong, and never in the way."""

import json
import os
import pickle
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records import cache, kept, store
from bench.records.schema import Record, Status
from tests.benchmarks.synthetic import make_store

RUNS = cache.FEW + 6
ROOT = Path(__file__).parents[2]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records that were not changed just now, and a cache of their own."""
    monkeypatch.setenv("TUNEBENCH_CACHE", str(tmp_path / "cache"))
    make_store(tmp_path / "runs", RUNS)
    monkeypatch.setattr(kept, "TICK_NS", 0)
    return tmp_path / "runs"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read anew, as they are."""
    found: list[Path] = []
    read = store.read

    def noting(path: Path) -> Record:
        found.append(path)
        return read(path)

    monkeypatch.setattr(store, "read", noting)
    return found


def caches(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "records").iterdir())


def test_the_second_time_nothing_is_read_and_all_is_the_same(results: Path, reads: list[Path]) -> None:
    first = store.scan([results])
    assert len(reads) == RUNS
    assert store.scan([results]) == first
    assert len(reads) == RUNS


def test_every_change_shows_at_once(results: Path, reads: list[Path]) -> None:
    folders = list(store.scan([results])[0])
    changed, replaced, removed, damaged = (folder / "record.json" for folder in folders[:4])
    content = changed.read_text()
    changed.write_text(content.replace('"seed": ', '"seed": 1'))
    store.write(store.read(replaced), replaced.parent)
    removed.unlink()
    damaged.write_text("{")
    added = results / "cpu-new" / "run"
    store.write(store.read(changed), added)
    reads.clear()
    found, bad = store.scan([results])
    assert sorted(reads) == sorted([changed, replaced, damaged, added / "record.json"])
    assert found[changed.parent].seed >= 10
    assert removed.parent not in found
    assert [error.path for error in bad] == [damaged]
    assert added in found


def test_a_change_of_the_same_size_and_time_shows(results: Path) -> None:
    path = next(iter(store.scan([results])[0])) / "record.json"
    before = path.stat()
    changed = path.read_text().replace('"status": "ok"', '"status": "??"').replace("??", "ok").replace("cpu-", "cpu_")
    assert len(changed.encode()) == before.st_size
    path.write_text(changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    record = store.scan([results])[0][path.parent]
    assert record.environment is not None
    assert record.environment.hardware.startswith("cpu_")


def test_what_changed_just_before_it_was_read_is_not_trusted() -> None:
    now = time.time_ns() | 1
    assert not kept.settled((1, now, 1, now), now)
    assert not kept.settled((1, 0, 1, now - 10**6), now)  # mtime can be set, ctime cannot
    assert kept.settled((1, 0, 1, now - 10**9), now)
    whole_second = now // 10**9 * 10**9  # a clock that knows no less
    assert not kept.settled((1, 0, 1, whole_second - 10**9), whole_second)
    assert kept.settled((1, 0, 1, whole_second - 3 * 10**9), whole_second)


def test_records_that_are_changing_are_read_again(
    results: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "TICK_NS", 10**15)
    store.scan([results])
    store.scan([results])
    assert len(reads) == 2 * RUNS


def test_few_records_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBENCH_CACHE", str(tmp_path / "cache"))
    make_store(tmp_path / "runs", cache.FEW - 1)
    store.scan([tmp_path / "runs"])
    assert not (tmp_path / "cache").exists()


def test_an_empty_variable_means_no_cache(results: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBENCH_CACHE", "")
    store.scan([results])
    store.scan([results])
    assert len(reads) == 2 * RUNS


def test_one_new_record_does_not_write_everything_anew(results: Path, tmp_path: Path) -> None:
    found, _ = store.scan([results])
    [path] = caches(tmp_path)
    before = path.read_bytes()
    store.write(next(iter(found.values())), results / "cpu-new" / "run")
    assert len(store.scan([results])[0]) == RUNS + 1
    assert path.read_bytes() == before


def test_files_given_one_by_one_share_the_cache_of_their_folder(
    results: Path, reads: list[Path], tmp_path: Path
) -> None:
    files = sorted(results.glob("*/*/record.json"))
    store.scan(files)
    reads.clear()
    some = [path for path in files if path.parent.parent == files[0].parent.parent]
    assert len(store.scan(some)[0]) == len(some)
    assert reads == [] if len(some) >= cache.FEW else reads == some


def test_the_cache_is_the_user_s_alone(results: Path, tmp_path: Path) -> None:
    store.scan([results])
    assert stat.S_IMODE((tmp_path / "cache" / "records").stat().st_mode) == 0o700


def test_a_folder_that_others_may_write_to_is_not_used(results: Path, reads: list[Path], tmp_path: Path) -> None:
    store.scan([results])
    (tmp_path / "cache" / "records").chmod(0o777)
    store.scan([results])
    assert len(reads) == 2 * RUNS


class Bomb:
    """What a foreign pickle would bring along."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("exit 1",)


def _foreign(path: Path) -> None:
    head, body = path.read_bytes().split(b"\n")[0], pickle.dumps(Bomb())
    root = path.parents[2] / "runs"
    path.write_bytes(cache._head(str(root), body) + body)
    assert path.read_bytes().split(b"\n")[0].split()[0] == head.split()[0]  # it passes for ours


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:-9] + b"x" * 9),
        lambda path: path.write_bytes(b"\x00" + path.read_bytes()),
        lambda path: path.write_bytes(b"0" * 32 + path.read_bytes()[32:]),  # another version
        _foreign,
    ],
)
def test_a_damaged_or_foreign_cache_is_not_used_and_made_anew(
    results: Path, reads: list[Path], tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    first = store.scan([results])
    [path] = caches(tmp_path)
    whole = path.read_bytes()
    damage(path)
    assert store.scan([results]) == first
    assert len(reads) == 2 * RUNS
    assert path.read_bytes() == whole


def test_other_code_has_another_cache(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("a")
    kept.code.cache_clear()
    before = kept.code(tmp_path)
    (tmp_path / "one.py").write_text("bc")
    kept.code.cache_clear()
    assert kept.code(tmp_path) != before


@pytest.mark.parametrize("failing", ["mkdir", "write_bytes"])
def test_a_disk_that_is_full_or_read_only_costs_time_alone(
    results: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failing: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, failing, fail)
    for _ in range(2):
        found, damaged = store.scan([results])
        assert (len(found), damaged) == (RUNS, [])
    assert len(reads) == 2 * RUNS
    assert list((tmp_path / "cache").rglob("*.*")) == []


def test_a_cache_below_a_file_is_none(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TUNEBENCH_CACHE", str(tmp_path / "file"))
    assert len(store.scan([results])[0]) == RUNS


def test_what_nobody_used_for_long_goes(results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "records"
    folder.mkdir(parents=True, mode=0o700)
    for name, age in (
        ("old.records", kept.UNUSED_S + 60),
        ("torn.records.1.tmp", kept.UNUSED_S + 60),
        ("new.records", 0),
    ):
        (folder / name).write_text("")
        os.utime(folder / name, (time.time() - age,) * 2)
    store.scan([results])
    assert not (folder / "old.records").exists()
    assert not (folder / "torn.records.1.tmp").exists()
    assert (folder / "new.records").exists()


def test_of_too_much_the_longest_unused_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "ROOM_BYTES", 25)
    for name, age in (("first", 4), ("second", 3), ("third", 2), ("at work", 0)):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (time.time() - age * kept.AT_WORK_S,) * 2)
    kept.write(tmp_path / "new", bytes(10))
    assert {path.name for path in tmp_path.iterdir()} == {"new", "at work"}
    kept.write(tmp_path / "newest", bytes(30))
    assert {path.name for path in tmp_path.iterdir()} == {"newest", "new", "at work"}


def test_tables_at_the_same_time_do_not_disturb_each_other(results: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bench.records import cache, kept, store; cache.WORTHWHILE = 10**9; "
        "kept.TICK_NS = 0; cache.load = lambda root: {}; "
        f"[print(len(store.scan([Path({str(results)!r})])[0])) for _ in range(5)]"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(4)]
    for process in running:
        output, _ = process.communicate()
        assert (process.returncode, output.split()) == (0, [str(RUNS).encode()] * 5)
    [path] = caches(tmp_path)
    assert len(cache.load(str(results))) == RUNS
    assert path.suffix == ".records"


def test_a_record_from_the_cache_is_as_good_as_one_from_its_file(results: Path) -> None:
    store.scan([results])
    for folder, record in store.scan([results])[0].items():
        assert isinstance(record.status, Status)
        assert store.as_plain(record) == json.loads((folder / "record.json").read_text())

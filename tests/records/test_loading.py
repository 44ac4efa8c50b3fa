"""Loading: any roots, nothing twice, and whatever is no record is named and left out."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records import store
from bench.records.schema import SCHEMA_VERSION, Record, Status
from bench.records.store import NewerRecord


def record(seed: int = 0) -> Record:
    """A record with little in it."""
    return Record(
        run_id=f"lora-m-t-s{seed}", group="00", method="lora", model="m", task="t", seed=seed, status=Status.OK,
        started_at="2026-01-01T00:00:00Z", finished_at="2026-01-01T00:00:01Z", config={"method": {"rank": 8}},
    )  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The results of two machines, two runs each."""
    for seed in range(4):
        store.write(record(seed), tmp_path / "results" / f"cpu-{seed // 2}" / "runs" / f"s{seed}")
    return tmp_path / "results"


def seeds(*roots: Path) -> list[int]:
    """Seeds of the records below `roots`; nothing is damaged there."""
    found, damaged = store.scan(roots)
    assert damaged == []
    return [each.seed for each in found.values()]


def test_roots_of_every_kind(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results.parent)
    assert seeds(results) == [0, 1, 2, 3]
    assert seeds(results / "cpu-1") == [2, 3]
    assert seeds(results / "cpu-1" / "runs" / "s2") == [2]
    assert seeds(results / "cpu-1" / "runs" / "s2" / "record.json") == [2]
    assert seeds(Path("results") / "cpu-0", Path("results/cpu-1/runs/s3")) == [0, 1, 3]
    assert seeds(results / "nowhere") == []


def test_patterns(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results.parent)
    assert seeds(Path("results/cpu-*")) == [0, 1, 2, 3]
    assert seeds(Path("results/*/runs/s[12]")) == [1, 2]
    assert seeds(Path("**/s3")) == [3]
    assert seeds(Path("results/**/record.json")) == [0, 1, 2, 3]
    assert seeds(Path("results/*-9")) == []


def test_a_folder_whose_name_looks_like_a_pattern_is_meant_as_it_is(tmp_path: Path) -> None:
    store.write(record(7), tmp_path / "run[1]")
    store.write(record(8), tmp_path / "run1")
    assert seeds(tmp_path / "run[1]") == [7]


def test_nothing_is_read_twice(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(store, "read", lambda path: (read.append(path), record())[1])
    (results / "again").symlink_to(results / "cpu-0")
    (results / "cpu-1" / "loop").symlink_to(results)
    roots = [results, results / "cpu-0", results / "cpu-0" / ".." / "cpu-1", results / "cpu-0/runs/s0/record.json"]
    found, damaged = store.scan(roots)
    assert (len(found), len(read), damaged) == (4, 4, [])


def test_a_linked_folder_is_followed_and_a_hidden_one_is_not(results: Path, tmp_path: Path) -> None:
    store.write(record(9), tmp_path / "elsewhere" / "s9")
    (results / "linked").symlink_to(tmp_path / "elsewhere")
    store.write(record(10), results / ".damaged" / "s10")
    assert sorted(seeds(results)) == [0, 1, 2, 3, 9]
    assert seeds(results / ".damaged") == [10]


def _changed(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone.json")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: p.write_bytes(b""), "is not valid JSON: Expecting value"),
        (lambda p: p.write_bytes(bytes(range(256)) * 4), "is not valid JSON: "),
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), "is not valid JSON: "),
        (lambda p: p.write_text("[1, 2]"), "is no record of tunebench: a JSON list instead of an object"),
        (lambda p: p.write_text('"a text"'), "is no record of tunebench: a JSON string instead of an object"),
        (lambda p: p.write_text('{"artist": "Can", "year": 1971}'), "is no record of tunebench: it has no schema_ver"),
        (lambda p: p.write_text('{"schema_version": 1, "name": "x"}'), "the key run_id is missing"),
        (lambda p: _changed(p, lambda d: d.update(schema_version="2")), "schema_version must be a whole number"),
        (lambda p: _changed(p, lambda d: d.update(schema_version=0)), "schema_version must be a whole number from 1"),
        (lambda p: _changed(p, lambda d: d.update(schema_version=999)), "has schema version 999; this tunebench reads"),
        (lambda p: _changed(p, lambda d: d.update(phases=[{"name": "load"}])), "key phases[0].seconds is missing"),
        (
            lambda p: _changed(p, lambda d: d.update(data={"fingerprint": "f", "sizes": {"train": "many"}})),
            'data.sizes.train must be int, got "many"',
        ),
        (lambda p: _changed(p, lambda d: d.update(method="\ud800")), "is not valid JSON: 'utf-8' codec can't encode"),
        (lambda p: p.write_text("[" * 100_000), "is not valid JSON: "),
        (_directory, "cannot be read: Is a directory"),
        (_broken_link, "cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_record_is_named_once_and_the_rest_is_there(
    results: Path, damage: Callable[[Path], object], reason: str
) -> None:
    bad = results / "cpu-0" / "runs" / "s1" / "record.json"
    damage(bad)
    found, damaged = store.scan([results, results / "cpu-0"])
    assert [each.seed for each in found.values()] == [0, 2, 3]
    assert [each.path for each in damaged] == [bad]
    assert reason in damaged[0].reason
    assert isinstance(damaged[0], NewerRecord) == ("999" in reason)


def test_what_may_not_be_read_is_named(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed_file, closed_folder = results / "cpu-0/runs/s1/record.json", results / "cpu-1"
    open_file, list_folder = Path.read_bytes, os.scandir

    def read_bytes(path: Path) -> bytes:  # modes do not keep the administrator out, as whom tests may run
        if path == closed_file:
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path)

    def scandir(path: str) -> "os._ScandirIterator[str]":
        if path == str(closed_folder):
            raise PermissionError(13, "Permission denied", path)
        return list_folder(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    monkeypatch.setattr(os, "scandir", scandir)
    found, damaged = store.scan([results])
    assert [each.seed for each in found.values()] == [0]
    assert {str(each) for each in damaged} == {
        f"{path}: cannot be read: Permission denied" for path in (closed_file, closed_folder)
    }


def test_a_number_beyond_every_float_is_damage(tmp_path: Path) -> None:
    path = store.write(record(), tmp_path)
    phase = {"name": "load", "seconds": 10**400, "memory_source": "glibc", "peak_allocated_bytes": 1}
    _changed(path, lambda data: data.update(phases=[phase]))
    with pytest.raises(store.DamagedRecord, match=r"phases\[0\].seconds must be float, got 1000"):
        store.read(path)


def test_a_plain_record_is_left_as_it_was_by_reading_it() -> None:
    plain = store.as_plain(record())
    before = json.dumps(plain)
    assert store.from_plain(plain) == record()
    assert json.dumps(plain) == before
    assert plain["schema_version"] == SCHEMA_VERSION

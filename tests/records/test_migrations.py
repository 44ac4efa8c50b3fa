"""Older records are brought up to date one version at a time."""

import json
from pathlib import Path

import pytest

from bench.records import migrations, store
from bench.records.migrations import MIGRATIONS, migrate
from bench.records.schema import SCHEMA_VERSION
from tests.records.test_store import record


def test_there_is_a_step_from_every_older_version() -> None:
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_a_record_of_version_1_is_read(tmp_path: Path) -> None:
    path = store.write(record(), tmp_path)
    data = json.loads(path.read_text())
    del data["source"]
    path.write_text(json.dumps(data | {"schema_version": 1}))
    assert store.read(path) == record()


def test_the_steps_are_taken_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {n: lambda data, n=n: data | {"passed": [*data["passed"], n]} for n in (1, 2, 3)}
    monkeypatch.setattr(migrations, "SCHEMA_VERSION", 4)
    monkeypatch.setattr(migrations, "MIGRATIONS", steps)
    old = {"schema_version": 2, "passed": []}
    assert migrate(old) == {"schema_version": 4, "passed": [2, 3]}
    assert old == {"schema_version": 2, "passed": []}


def test_a_gap_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", {})
    path = store.write(record(), tmp_path)
    path.write_text(path.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 1'))
    with pytest.raises(store.DamagedRecord, match="has schema version 1, and nothing brings it from 1 to 2"):
        store.read(path)


@pytest.mark.parametrize("version", [True, 0, -1, 1.0, "1", None, SCHEMA_VERSION + 1])
def test_a_version_that_is_none_is_refused(version: object) -> None:
    with pytest.raises(ValueError, match="schema_version must be a whole number from 1 to"):
        migrate({"schema_version": version})

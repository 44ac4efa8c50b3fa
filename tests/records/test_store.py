"""Records survive crashes, and damaged ones are named, never fatal."""

import json
import math
import os
from pathlib import Path

import pytest

from bench.records import store
from bench.records.schema import (
    SCHEMA_VERSION,
    Evaluation,
    Metric,
    Phase,
    Quantiles,
    Record,
    Scores,
    Source,
    Status,
    Training,
)
from bench.records.store import DamagedRecord


def record(**changes: object) -> Record:
    """A record with every kind of field that nests."""
    made = Record(
        run_id="lora-m-t-s0-0", group="00", method="lora", model="m", task="t", seed=0, status=Status.DIVERGED,
        started_at="2026-01-01T00:00:00Z", finished_at="2026-01-01T00:00:01Z", config={"method": {"rank": 8}},
        phases=[Phase("load", 0.5, "glibc", 2**40, energy_j=1.5), Phase("train", 3.0, "glibc", 7)],
        evaluation=Evaluation(Scores(3, 0.25, {"accuracy": Metric(0.5, 1, True)}), forgetting=0.125),
        training=Training(
            10, 2, 160, 1000, 100, 1.5, Quantiles(0.1, 0.09, 0.2), 666.0, 66.0, 2.0, math.inf, 1e-3, "adamw",
            "float32", "float32", "labelled",
        ),
    )  # fmt: skip
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = store.run_folder(tmp_path, "cpu-x-2", "lora-m-t-s0-0")
    assert folder == tmp_path / "runs" / "cpu-x-2" / "lora-m-t-s0-0"
    path = store.write(record(), folder)
    assert path == folder / "record.json"
    assert store.read(path) == record()
    assert [child.name for child in folder.iterdir()] == ["record.json"]


def test_an_imported_record_may_lack_what_others_did_not_measure(tmp_path: Path) -> None:
    made = record(
        source=Source(
            "huggingface/peft", "https://github.com/huggingface/peft", "lora.json", notes={"seed": "no effect"}
        ),
        phases=[Phase("all", 9.0, "cuda", None, peak_reserved_bytes=7)],
        evaluation=Evaluation(Scores(50, None)),
        training=Training(
            10, 0, 160, 1000, None, 1.5, None, 666.0, None, None, None, 1e-3, "AdamW", "bfloat16", "float32", "full"
        ),
    )
    assert store.read(store.write(made, tmp_path)) == made


def test_not_a_number_is_written_as_strict_json(tmp_path: Path) -> None:
    made = record()
    made.training.first_loss = math.nan  # type: ignore[union-attr]
    made.evaluation.forgetting = -math.inf  # type: ignore[union-attr]
    path = store.write(made, tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    data = json.loads(path.read_text(), parse_constant=refuse)
    assert data["training"]["final_loss"] == "Infinity"
    back = store.read(path)
    assert math.isnan(back.training.first_loss)  # type: ignore[union-attr]
    assert back.evaluation.forgetting == -math.inf  # type: ignore[union-attr]


@pytest.mark.parametrize("crashing", ["fsync", "replace"])
def test_a_crash_before_the_renaming_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crashing: str
) -> None:
    path = store.write(record(), tmp_path)

    def crash(*_: object) -> None:
        raise OSError("power failure")

    with monkeypatch.context() as patch:
        patch.setattr(os, crashing, crash)
        with pytest.raises(OSError, match="power failure"):
            store.write(record(seed=7), tmp_path)
    assert store.read(path).seed == 0


def test_what_a_killed_writer_leaves_is_no_record(tmp_path: Path) -> None:
    store.write(record(), tmp_path / "a")
    (tmp_path / "a" / ".record.json.123.tmp").write_text('{"run_id": "ha')
    records, damaged = store.load([tmp_path])
    assert (len(records), damaged) == (1, [])


def test_the_content_is_on_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("fsync"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    store.write(record(), tmp_path)
    assert calls[:2] == ["fsync", "replace"]
    if os.name == "posix":
        assert calls == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data.pop("run_id"), "the key run_id is missing"),
        (lambda data: data["phases"][1].pop("seconds"), r"the key phases\[1\].seconds is missing"),
        (lambda data: data.update(seed="0"), 'seed must be int, got "0"'),
        (lambda data: data.update(seed=True), "seed must be int, got true"),
        (lambda data: data.update(status="fine"), 'status must be Status, got "fine"'),
        (lambda data: data["training"]["step_s"].update(median=[]), r"training.step_s.median must be float, got \[\]"),
        (lambda data: data.update(phases={}), "phases must be list, got {}"),
        (lambda data: data.update(config=3), "config must be dict, got 3"),
        (lambda data: data["config"].update(budget="long"), 'config.budget must be Budget, got "long"'),
        (lambda data: data["config"].update(budget={"steps": "many"}), 'config.budget.steps must be float, got "many"'),
        (lambda data: data["config"].update(budget={"name": 7}), "config.budget.name must be str, got 7"),
        (lambda data: data["config"].update(model="gpt2"), 'config.model must be Model, got "gpt2"'),
        (lambda data: data["config"].update(model={"path": 7}), "config.model.path must be str, got 7"),
        (lambda data: data["config"].update(method=[1]), r"config.method must be dict, got \[1\]"),
        (
            lambda data: data.update(schema_version=SCHEMA_VERSION + 1),
            f"schema version {SCHEMA_VERSION + 1}; this tunebench reads up to {SCHEMA_VERSION}",
        ),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: object, reason: str) -> None:
    path = store.write(record(), tmp_path)
    data = json.loads(path.read_text())
    damage(data)  # type: ignore[operator]
    path.write_text(json.dumps(data))
    with pytest.raises(DamagedRecord, match=reason) as caught:
        store.read(path)
    assert caught.value.path == path
    assert str(caught.value) == f"{path}: {caught.value.reason}"


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b'{"run_id": "lor', b"[" * 100_000])
def test_what_is_no_record_at_all_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(DamagedRecord):
        store.read(path)


def test_every_truncation_is_damaged(tmp_path: Path) -> None:
    path = store.write(record(), tmp_path)
    whole = path.read_bytes().rstrip()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedRecord):
            store.read(path)


def test_what_a_record_may_lack_takes_its_default_and_unknown_keys_are_ignored(tmp_path: Path) -> None:
    path = store.write(record(), tmp_path)
    data = json.loads(path.read_text())
    del data["checkpoint_bytes"], data["phases"][0]["energy_j"]
    data["from_a_later_version"] = 1
    path.write_text(json.dumps(data))
    back = store.read(path)
    assert back.checkpoint_bytes is None
    assert back.phases[0].energy_j is None


def test_loading_names_the_bad_and_returns_the_good(tmp_path: Path) -> None:
    for seed in range(3):
        store.write(record(seed=seed), tmp_path / "runs" / "cpu" / f"s{seed}")
    bad = tmp_path / "runs" / "cpu" / "s1" / "record.json"
    bad.write_text("{")
    records, damaged = store.load([tmp_path, tmp_path / "runs", tmp_path / "nothing here"])
    assert [r.seed for r in records] == [0, 2]
    assert [d.path for d in damaged] == [bad.resolve()]
    found, _ = store.scan([tmp_path / "runs" / "cpu" / "s2" / "record.json"])
    assert list(found) == [(tmp_path / "runs" / "cpu" / "s2").resolve()]


def test_lines_are_read_back_and_a_torn_last_one_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    lines = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": "é\n"}]
    for line in lines:
        store.append_line(path, line)
    assert store.read_lines(path) == lines
    with path.open("ab") as file:
        file.write('{"step": 3, "loss": "é'.encode()[:-1])
    assert store.read_lines(path) == lines


def test_a_line_is_readable_as_soon_as_it_is_appended_and_infinite_losses_are_strings(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    store.append_line(path, {"loss": math.inf})
    assert path.read_text() == '{"loss": "Infinity"}\n'
    assert float(store.read_lines(path)[0]["loss"]) == math.inf


@pytest.mark.parametrize("bad", ["{", "[1]"])
def test_a_bad_line_in_the_middle_is_damage(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_text(f'{{"step": 1}}\n{bad}\n{{"step": 3}}\n')
    with pytest.raises(DamagedRecord, match="line 2 is not"):
        store.read_lines(path)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.read_lines(tmp_path / "steps.jsonl")
    with pytest.raises(DamagedRecord, match="cannot be read: No such file"):
        store.read(tmp_path / "record.json")
    (tmp_path / "record.json").mkdir()
    with pytest.raises(DamagedRecord, match="cannot be read"):
        store.read(tmp_path / "record.json")
    assert [d.path.name for d in store.load([tmp_path])[1]] == ["record.json"]

"""`tunebench reproduce`: a real run twice, and what cannot be run again."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.config import Budget, Run, to_dict
from bench.launch.queue import folder_of
from bench.launch.view import View
from bench.records import store
from bench.records.schema import Environment, Record, Source, Status
from bench.reproduce import again, main
from methods.lora import Lora

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "method=lora", "task=arithmetic", "task.train_examples=16", "task.validation_examples=4", "task.test_examples=3",
    "budget.steps=3", "train.batch_size=4", "train.precision=float32", "task.max_new_tokens=2",
    "measure.forgetting=false", "hardware.threads=1", "launch.predict=false",
)  # fmt: skip


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "160", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def record() -> Record:
    """What a run of this version would leave, as far as it is needed to run it again."""
    run = Run(Lora(), budget=Budget(steps=3))
    return Record(
        run_id=run.run_id(), group=run.group(), method="lora", model="m", task="t", seed=0, status=Status.OK,
        started_at="2026-01-01T00:00:00+00:00", finished_at="2026-01-01T00:00:01+00:00", config=to_dict(run),
        tunebench_version="0.1.0",
    )  # fmt: skip


def test_a_run_again_gives_the_same_losses_to_the_last_bit(tmp_path: Path) -> None:
    assert typed(tmp_path, "run", *SMALL).returncode == 0
    [original] = (tmp_path / "results" / "runs").glob("*/lora-*")
    before = (original / "record.json").read_bytes()

    done = typed(tmp_path, "reproduce", original.name)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Reproduced to the last bit: all " in done.stdout
    assert "environment: no difference" in done.stdout
    assert (original / "record.json").read_bytes() == before
    repetition = tmp_path / "results" / "reproduced" / "runs" / original.parent.name / original.name
    losses = [[line["loss"] for line in store.read_lines(folder / "steps.jsonl")] for folder in (original, repetition)]
    assert len(losses[0]) == 3
    assert losses[0] == losses[1]


@pytest.fixture
def made_again(monkeypatch: pytest.MonkeyPatch) -> Callable[[Record, list[float]], None]:
    """Has a repetition end in this record, with these losses, instead of running."""

    def make(record: Record, losses: list[float]) -> None:
        def launch(runs: list[Run], view: View) -> list[Record]:
            folder = folder_of(runs[0])
            store.write(record, folder)
            store.write_lines(folder / "steps.jsonl", [{"loss": loss} for loss in losses])
            return [record]

        monkeypatch.setattr("bench.launch.sweep.launch", launch)

    return make


@pytest.mark.parametrize(
    ("losses", "words", "code"),
    [([2.0, 1.0], [], 0), ([2.0, 1.01], [], 1), ([2.0, 1.01], ["--tolerance", "0.01"], 0), ([2.0], [], 1)],
)
def test_the_exit_code_says_whether_it_is_the_same(
    record: Record,
    losses: list[float],
    words: list[str],
    code: int,
    made_again: Callable[[Record, list[float]], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record.environment = Environment("cpu-x", "cpu", "x", 1, 1, "x", 1, 1, "Linux", "3.11", {"torch": "2"})
    folder = tmp_path / "results" / "runs" / "cpu-x" / record.run_id
    store.write(record, folder)
    store.write_lines(folder / "steps.jsonl", [{"loss": 2.0}, {"loss": 1.0}])
    made_again(record, losses)
    assert main([str(folder), "--out", str(tmp_path / "out"), *words]) == code
    assert ("Reproduced" in capsys.readouterr().out) == (code == 0)


def test_the_original_is_never_overwritten(record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(again(record, tmp_path)[0])
    store.write(record, folder)
    assert main([str(folder), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"tunebench reproduce: --out: {tmp_path} holds the original; name another folder\n"
    )


def test_the_run_of_a_record_is_the_same_run_elsewhere(record: Record, tmp_path: Path) -> None:
    run, notes = again(record, tmp_path, ["launch.devices=[1, 2]", "hardware.threads=3", "launch.keep_adapter=true"])
    assert run.run_id() == record.run_id
    assert (run.results, run.launch.rerun, run.launch.devices) == (str(tmp_path), "all", ["1", "2"])
    assert (run.hardware.threads, run.launch.keep_adapter) == (3, True)
    assert notes == []


def test_settings_that_an_older_record_lacks_are_named(record: Record, tmp_path: Path) -> None:
    del record.config["train"]["explosion"]
    assert again(record, tmp_path)[1] == [
        "settings that the record does not know stand at their defaults: train.explosion"
    ]


def _imported(record: Record) -> Record:
    return replace(record, source=Source("theirs", "https://example.org", "x.json"))


def _old(record: Record) -> Record:
    record.config["task"]["train_size"] = record.config["method"]["gone"] = record.config["extra"] = 1
    return record


def _other_method(record: Record) -> Record:
    record.config["method"]["name"] = "loar"
    return record


def _odd(record: Record) -> Record:
    del record.config["method"]["name"]
    return record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_imported, "lora-.* is imported from theirs; only its own program can run it again"),
        (_old, "lora-.*, made by tunebench 0.1.0, has settings that are gone: extra, method.gone, task.train_size"),
        (_other_method, "there is no method 'loar'; did you mean 'lora'?"),
        (_odd, r"the configuration of lora-.* cannot be read: KeyError\('name'\)"),
    ],
)
def test_what_cannot_be_run_again(
    record: Record,
    change: Callable[[Record], Record],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = change(record)
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        again(changed, tmp_path)
    folder = tmp_path / "runs" / "cpu" / changed.run_id
    store.write(changed, folder)
    assert main([str(folder), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("tunebench reproduce: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.rank=4", "method.rank=4: a reproduction takes keys of launch and hardware alone"),
        ("launch.starts=spawn", "did you mean 'launch.start'"),
        ("launch.start", "a reproduction takes keys of launch and hardware alone"),
        ("launch.processes=two", "launch.processes must be int, got 'two'"),
        ("launch.keep_adapter=perhaps", "launch.keep_adapter must be bool, got 'perhaps'"),
    ],
)
def test_overrides_that_would_make_it_another_run(record: Record, override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        again(record, tmp_path, [override])


def test_files_that_are_gone_and_values_that_are_wrong_are_named(
    record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record.config["model"]["path"] = "./nowhere"
    record.config["budget"]["steps"] = -1
    folder = tmp_path / "runs" / "cpu" / record.run_id
    store.write(record, folder)
    assert main([str(folder), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "budget.steps must be >= 0, got -1" in said
    assert "model.path: there is no folder ./nowhere" in said
    assert main([str(tmp_path / "nothing")]) == 2


def test_the_tolerance_is_a_share(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["x", "--tolerance", "2"])
    assert "must be >= 0 and < 1, got 2" in capsys.readouterr().err

"""Records to make tables of, each like one that a run would leave."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.records.schema import (
    Data,
    Environment,
    Evaluation,
    Metric,
    Parameters,
    Phase,
    Quantiles,
    Record,
    Scores,
    Status,
    Training,
)
from bench.records.store import append_line, run_folder, write
from bench.report.cli import main

MIB = 2**20
Make = Callable[..., Record]


def _config(method: str | None, **changes: Any) -> dict[str, Any]:
    """A run's configuration; `changes` are given by dotted key with `__` for the dot."""
    config: dict[str, Any] = {
        "method": method and {"name": method, "rank": 8, "learning_rate": 0.001},
        "model": {"name": "tiny-llama", "path": "embedded:tiny-llama", "dtype": "auto"},
        "task": {"name": "pydoc", "kind": "classification"},
        "budget": {"name": "short", "steps": 300, "tokens": 0},
        "train": {"batch_size": 16},
        "measure": {"warmup_steps": 5, "test": True},
    }
    for key, value in changes.items():
        part, _, name = key.partition("__")
        config[part] = {**config[part], name: value}
    return config


def environment(**changes: Any) -> Environment:
    """Where a run was made."""
    libraries = {"torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2", "trl": "1.16.0", "numpy": "2.3"}
    facts: dict[str, Any] = {
        "hardware": "cpu-test-2", "device": "cpu", "device_name": "Test CPU", "device_memory_bytes": 2**34,
        "host_memory_bytes": 2**34, "cpu": "Test CPU", "cpu_cores": 2, "threads": 2, "platform": "Linux",
        "python": "3.11.7", "libraries": libraries, "git_commit": "0123456789abcdef", "git_dirty": False,
    }  # fmt: skip
    return Environment(**(facts | changes))


def make_record(
    method: str = "lora",
    seed: int = 0,
    loss: float = 0.5,
    accuracy: float = 0.75,
    test: bool = True,
    status: Status = Status.OK,
    peak: int = 300 * MIB,
    step: float = 0.1,
    foreign: float = 0.0,
    memory_source: str = "glibc",
    default_rate: float | None = 0.001,
    where: Environment | None = None,
    **config: Any,
) -> Record:
    """One whole record; a failed one stops in its training."""
    base = method == "base"
    settings = _config(None if base else method, **config)
    key = "|".join(f"{k}={v}" for k, v in sorted(config.items()))
    record = Record(
        run_id=f"{method}-tiny-llama-pydoc-s{seed}-{key}", group=f"{method}:{key}", method=method, model="tiny-llama",
        task="pydoc", seed=seed, status=status, started_at="2026-01-01T00:00:00+00:00", tunebench_version="0.1.0",
        finished_at="2026-01-01T00:01:00+00:00", config=settings, environment=where or environment(),
        data=Data("f00dfeed" * 8, {"train": 100, "validation": 20, "test": 8}, 0.25),
        phases=[Phase("load", 0.5, memory_source, peak // 2)],
    )  # fmt: skip
    if not base:
        record.phases.append(Phase("train", 30.0, memory_source, peak))
        record.parameters = Parameters(trainable=164_000, total=4_100_000)
    if status is not Status.OK:
        record.reason, record.failed_phase = "the allocator wanted 3 GiB more\nthan there is", "train"
        return record
    record.phases.append(Phase("evaluate", 2.0, memory_source, peak // 3))
    metrics = {"accuracy": Metric(accuracy, 1, True), "macro_f1": Metric(accuracy - 0.05, 1, True)}
    record.evaluation = Evaluation(
        Scores(20, loss, metrics), Scores(8, loss + 0.01, metrics) if test else None, 3.0, None if base else 0.1,
        {"method": "greedy", "max_new_tokens": 32},
    )  # fmt: skip
    if not base:
        record.checkpoint_bytes = 656_000
        record.training = Training(
            steps=300, warmup_steps=5, examples=4800, tokens=90_000, trained_tokens=9_000, seconds=300 * step,
            step_s=Quantiles(step, step * 0.9, step * 1.2), tokens_per_s=300 / step, trained_tokens_per_s=30 / step,
            first_loss=6.0, final_loss=loss, learning_rate=settings["method"]["learning_rate"], optimizer="adamw",
            precision="float32", trainable_dtype="float32", loss="labelled", foreign_cpu_cores=foreign,
            default_learning_rate=default_rate,
        )  # fmt: skip
    return record


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, one for each test."""
    monkeypatch.setenv("TUNEBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def make() -> Make:
    """The factory of records."""
    return make_record


@pytest.fixture
def where() -> Callable[..., Environment]:
    """The factory of environments."""
    return environment


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Path]:
    """Writes a record, and the outcomes of its test examples if given (1 right, 0 wrong), and returns its folder."""

    def keep(record: Record, correct: list[int] | None = None) -> Path:
        hardware = record.environment.hardware if record.environment else "cpu-test-2"
        if correct and record.evaluation and record.evaluation.test:
            record.evaluation.test.examples = len(correct)
        folder = run_folder(tmp_path, hardware, record.run_id)
        write(record, folder)
        if correct:
            (folder / "examples.jsonl").unlink(missing_ok=True)
        for number, right in enumerate(correct or []):
            line = {"id": f"e{number}", "correct": right, "prediction": "a", "answer": "b", "loss": 0.5}
            append_line(folder / "examples.jsonl", line | {"preferred": None, "metrics": {"accuracy": right}})
        return folder

    return keep


@pytest.fixture
def results(make: Make, store: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with a base, two seeds of LoRA, and full fine-tuning with another rank in its settings."""
    for record in (make("base"), make(seed=0), make(seed=1), make("sft", method__rank=4)):
        store(record)
    return tmp_path / "runs"


@pytest.fixture
def two_machines(make: Make, store: Callable[..., Path], where: Callable[..., Environment], tmp_path: Path) -> Path:
    """The same runs on two machines."""
    for hardware, loss in (("cpu-a", 0.5), ("cpu-b", 0.4)):
        for record in (make("base"), make(loss=loss), make("sft", loss=loss + 0.1)):
            record.environment = where(hardware=hardware)
            store(record)
    return tmp_path / "runs"


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    """What `tunebench table` writes as CSV."""
    assert main([*arguments, "--format", "csv"]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def edit(folder: Path, **config: object) -> None:
    """Change parts of the configuration in a record's file."""
    path = folder / "record.json"
    data = json.loads(path.read_text())
    data["config"] |= config
    path.write_text(json.dumps(data))

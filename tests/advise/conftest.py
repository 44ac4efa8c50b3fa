"""A tracer that traces nothing: memory and work by a formula, so that every kind of answer can be asked for.

With it, the command itself: `ask` runs it, `answer` returns what it says to machines.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.advise import cli
from bench.advise.trace import NotTraceable, Operation, Question, Trace, TracingFailed
from bench.advise.units import GIB
from bench.config.run import from_dict

LAYERS = 32
COMMON = ("--model", "llama-3.1-8b", "--gpu", "rtx-4090", "--task", "classification", "--examples", "20000")
ASK = (*COMMON, "--seq", "2048")
Ask = Callable[..., tuple[int, str, str]]


@dataclass
class FakeTracer:
    """Answers by a formula, and remembers what it was asked.

    Attributes:
        parameters: of the base.
        token_bytes: that a token of activations takes; a third of that with checkpointing.
        refused: titles of methods that cannot be traced, with the reason.
        failed: titles of methods whose tracing fails, and how.
    """

    parameters: float = 8e9
    token_bytes: float = 4 * 2**20
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    asked: list[Question] = field(default_factory=list)

    def __call__(self, questions: Sequence[Question]) -> list[Trace | NotTraceable]:
        self.asked += questions
        return [self._answer(each) for each in questions]

    def _answer(self, question: Question) -> Trace | NotTraceable:
        run = from_dict(
            {"data": {"train": "a-file" if question.run["task"]["source"] == "file" else ""}} | question.run
        )
        assert run.method is not None
        assert run.errors() == []
        title, work = run.method.title(), question.workload
        if title in self.refused:
            return NotTraceable(self.refused[title])
        if title in self.failed:
            return TracingFailed(self.failed[title])
        whole = run.method.trains_base_weights()
        trained = self.parameters if whole else self.parameters / 100
        width = 4.0 if whole else 0.5 if run.method.quantization() else 2.0
        recomputed = run.train.gradient_checkpointing
        activations = work.rows * work.longest_tokens * self.token_bytes / (3 if recomputed else 1)
        parts = {
            "weights": int(self.parameters * width), "adapter": 0 if whole else int(trained * 4),
            "gradients": int(trained * 4), "optimizer": int(trained * 8), "activations": int(activations),
            "logits": 0, "workspace": 0,
        }  # fmt: skip
        allocated = sum(parts.values())
        passes = (6 if whole else 4) + 2 * recomputed
        tokens = work.rows * work.mean_tokens
        slower = 1.3 if run.method.quantization() else 1.0
        gemm = Operation(
            "matmul", "bfloat16", passes * self.parameters * tokens * slower / LAYERS, self.parameters / LAYERS,
            LAYERS * run.train.gradient_accumulation,
        )  # fmt: skip
        return Trace(
            live_bytes=allocated, allocated_bytes=allocated, reserved_bytes=allocated + GIB // 4,
            static_bytes=parts["weights"], breakdown=parts, peak_operation="mm in model.layers.31.mlp",
            trainable_parameters=int(trained), total_parameters=int(self.parameters + (0 if whole else trained)),
            checkpoint_bytes=int(trained * 4), operations=(gemm,), dispatches=10_000, tokens=tokens, layers=LAYERS,
        )  # fmt: skip


@pytest.fixture
def tracer() -> FakeTracer:
    return FakeTracer()


@pytest.fixture
def ask(tracer: FakeTracer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ask:
    """Runs the command in an empty folder; returns the exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNEBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "120")  # a terminal in which no row of the tables wraps
    monkeypatch.setattr(cli, "answers", tracer)
    monkeypatch.setattr(cli, "begin", lambda: None)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def answer(ask: Ask, *arguments: str) -> dict[str, Any]:
    code, out, _ = ask(*arguments, "--json")
    found: dict[str, Any] = json.loads(out)
    assert code == (0 if found["recommendation"] else 1)
    return found


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["candidate"]: each for each in found["candidates"]}

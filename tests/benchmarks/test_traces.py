"""How long advice takes, from the start of the command and with no trace kept: what is typed is what runs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.command import environment

pytestmark = pytest.mark.benchmark
ONE_S, ALL_S, ROUNDS = 5.0, 60.0, 11
ONE = ("--model", "llama-2-7b", "--method", "lora", "--batch", "1")
ALL = ("--model", "llama-3.1-8b", "--task", "classification", "--examples", "20000", "--seq", "2048", "--hours", "8")


def advised(arguments: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """The answer for a card of 24 GB, without records."""
    shutil.rmtree(folder / "cache" / "traces", ignore_errors=True)
    command = [sys.executable, "-m", "bench", "advise", "--gpu", "rtx-4090", "--json", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_one_method(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    found = benchmark.pedantic(lambda: advised(ONE, tmp_path), rounds=ROUNDS, warmup_rounds=1)
    assert [bool(each["predicted"]) for each in found["candidates"]] == [True, True]
    assert benchmark.stats.stats.median < ONE_S


def test_a_whole_recommendation(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    found = benchmark.pedantic(lambda: advised(ALL, tmp_path), rounds=1)
    assert found["recommendation"]
    assert sum(bool(each["predicted"]) for each in found["candidates"]) > len(found["candidates"]) // 2
    assert benchmark.stats.stats.max < ALL_S

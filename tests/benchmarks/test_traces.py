"""How long traces of an 8B model take, from the start of the process that asks, with nothing in the cache."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pytest_benchmark.fixture import BenchmarkFixture

from bench.method import discover

pytestmark = pytest.mark.benchmark
ROOT = Path(__file__).parents[2]
ONE_S, ALL_S = 5.0, 60.0
ASK = """
import json, sys
from dataclasses import replace
from bench.advise.trace import Question, Trace, Workload
from bench.advise.tracer import traces
from bench.config import Model, Run
from bench.config.run import to_dict
from bench.method import get

facts, asked = json.load(sys.stdin)
questions = []
for method, checkpointing in asked:
    run = Run(get(method)(), Model("8b", architecture=facts))
    run.train = replace(run.train, batch_size=2, gradient_accumulation=1, gradient_checkpointing=checkpointing)
    questions.append(Question(to_dict(run), Workload(rows=2, mean_tokens=512, longest_tokens=2048)))
print(sum(isinstance(answer, Trace) for answer in traces(questions)))
"""


def traced(asked: list[tuple[str, bool]], cache: Path) -> int:
    """How many of these methods, with or without gradient checkpointing, were traced."""
    model = yaml.safe_load((ROOT / "conf" / "model" / "llama-3.1-8b.yaml").read_text(encoding="utf-8"))
    environment = {**os.environ, "TUNEBENCH_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", ASK], input=json.dumps([model["architecture"], asked]), cwd=ROOT, env=environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def test_one_method(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    caches = iter(range(100))
    found = benchmark.pedantic(lambda: traced([("lora", False)], tmp_path / str(next(caches))), rounds=3)
    assert found == 1
    assert benchmark.stats.stats.min < ONE_S


def test_a_whole_recommendation(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    asked = [(method, checkpointing) for method in sorted(discover()) for checkpointing in (False, True)]
    found = benchmark.pedantic(lambda: traced(asked, tmp_path), rounds=1)
    assert found == len(asked) - 1  # prefix tuning has no checkpointing
    assert benchmark.stats.stats.max < ALL_S

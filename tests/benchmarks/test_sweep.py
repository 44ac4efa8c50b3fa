"""What a sweep takes beside training and evaluating: starting, reading, tokenising, predicting, loading, saving.

The wall clock is that of the command, from its start to its end, with the table it prints; what it is compared with is
the sum of the phases `train` and `evaluate` of all its records, that of the base too. The cache is empty at first.
"""

import io
import os
import subprocess
import sys
import time
from collections import Counter
from itertools import count
from multiprocessing import forkserver
from pathlib import Path

import pytest

from bench.config import Run
from bench.launch import launch
from bench.launch.view import View
from bench.method import get
from bench.records.schema import Status
from bench.records.store import load
from tests.benchmarks.conftest import Hold
from tests.benchmarks.jobs import SEVEN
from tests.benchmarks.ratio import Ratio, compared

pytestmark = pytest.mark.benchmark
ROOT = Path(__file__).parents[2]
MEASURED = ("train", "evaluate")
FEW, MANY = 5, 60


def swept(folder: Path, *overrides: str) -> tuple[float, Counter[str]]:
    """The seconds of a sweep, and those of its phases over all runs.

    Args:
        folder: takes the results, and a cache.
        overrides: of the sweep.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TUNEBENCH_CACHE": str(folder / "cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "bench", "sweep", f"results={folder / 'results'}", *overrides]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    records, damaged = load([folder / "results" / "runs"])
    assert not damaged
    phases: Counter[str] = Counter()
    for record in records:
        for phase in record.phases:
            phases[phase.name] += phase.seconds
    return seconds, phases


def report(seconds: float, phases: Counter[str]) -> None:
    """Print where the time went."""
    parts = {**phases, "between phases": seconds - phases.total()}
    print(f"\n{seconds:.1f} s, {seconds / sum(phases[name] for name in MEASURED):.3f} x train and evaluate")
    for name, value in parts.items():
        print(f"{name:15} {value:8.1f} s {value / seconds:6.1%}")


@pytest.mark.timeout(3600)
def test_seven_methods_and_three_seeds(tmp_path: Path, hold: Hold) -> None:
    """A sweep for each method, all with one cache and one folder of results; each pays for its own start."""
    pairs, before, all_seconds = [], Counter[str](), 0.0
    for method in SEVEN:
        seconds, phases = swept(tmp_path, f"method={method}", "seed=range(3)")
        pairs.append((seconds, sum((phases - before)[name] for name in MEASURED)))
        before, all_seconds = phases, all_seconds + seconds
    report(all_seconds, before)
    hold("sweep of seven methods and three seeds / train and evaluate", Ratio.of(pairs), at_most=1.15)


@pytest.mark.timeout(1200)
def test_a_short_sweep(tmp_path: Path, hold: Hold) -> None:
    """One command, two methods and two seeds, as long as by default."""
    seconds, phases = swept(tmp_path, "method=lora,prompt", "seed=0,1")
    report(seconds, phases)
    ratio = Ratio.of([(seconds, sum(phases[name] for name in MEASURED))])
    hold("short sweep / train and evaluate", ratio, at_most=1.15)


def test_the_time_of_a_run_does_not_grow_with_the_sweep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hold: Hold
) -> None:
    """The launcher's seconds for a run that does nothing, in a sweep of many beside one of few."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "launch")
    numbers = count()

    def sweep(size: int) -> float:
        results = str(tmp_path / str(next(numbers)))
        runs = [Run(get("lora")(), seed=seed, results=results) for seed in range(size)]
        began = time.perf_counter()
        found = launch(runs, View(io.StringIO()), worker="fake_workers:ok", preload="fake_workers")
        assert [record.status for record in found] == [Status.OK] * (size + 1)  # the base too
        return (time.perf_counter() - began) / (size + 1)

    try:
        ratio = compared(lambda: sweep(MANY), lambda: sweep(FEW), rounds=3)
    finally:
        forkserver._forkserver._stop()
    hold(f"launching each of {MANY} runs / each of {FEW}", ratio, at_most=1.1)

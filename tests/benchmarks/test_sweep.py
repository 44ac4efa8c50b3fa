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
from collections.abc import Iterator
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
from tests.benchmarks.command import ROOT, environment
from tests.benchmarks.conftest import Hold
from tests.benchmarks.ratio import Ratio, compared
from tests.benchmarks.synthetic import make_store

pytestmark = pytest.mark.benchmark
MEASURED = ("train", "evaluate")
FEW, MANY = 5, 60
RECORDS = 1_000


def swept(folder: Path, *overrides: str) -> tuple[float, Counter[str]]:
    """The seconds of a sweep, and those of its phases over all runs.

    Args:
        folder: takes the results, and a cache.
        overrides: of the sweep.
    """
    command = [sys.executable, "-m", "bench", "sweep", f"results={folder / 'results'}", *overrides]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment(folder), cwd=folder, capture_output=True, text=True)
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
@pytest.mark.parametrize(
    ("title", "overrides"),
    [("sweep of seven methods", ()), ("sweep of seven methods and three seeds", ("experiment=seeds",))],
    ids=["default", "seeds"],
)
def test_a_sweep(tmp_path: Path, hold: Hold, title: str, overrides: tuple[str, ...]) -> None:
    seconds, phases = swept(tmp_path, *overrides)
    report(seconds, phases)
    ratio = Ratio.of([(seconds, sum(phases[name] for name in MEASURED))])
    hold(f"{title} / train and evaluate", ratio, at_most=1.15)


class Launcher:
    """Launches runs that do nothing, each time into another folder of results."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, count()

    def each(self, size: int, records: int = 0) -> float:
        """Seconds for each run of a sweep of `size` and a base, where so many records are."""
        results = self._folder / str(next(self._numbers))
        make_store(results / "runs", records)
        os.sync()  # else it is done while runs are timed
        runs = [Run(get("lora")(), seed=seed, results=str(results)) for seed in range(size)]
        began = time.perf_counter()
        found = launch(runs, View(io.StringIO()), worker="fake_workers:ok", preload="fake_workers")
        assert [record.status for record in found] == [Status.OK] * (size + 1)
        return (time.perf_counter() - began) / (size + 1)


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launcher]:
    monkeypatch.syspath_prepend(ROOT / "tests" / "launch")
    yield Launcher(tmp_path)
    forkserver._forkserver._stop()


def test_the_time_of_a_run_does_not_grow_with_the_sweep(launcher: Launcher, hold: Hold) -> None:
    ratio = compared(lambda: launcher.each(MANY), lambda: launcher.each(FEW), rounds=3)
    hold(f"launching each of {MANY} runs / each of {FEW}", ratio, at_most=1.1)


def test_the_time_of_a_run_does_not_grow_with_the_records(launcher: Launcher, hold: Hold) -> None:
    ratio = compared(lambda: launcher.each(FEW, RECORDS), lambda: launcher.each(FEW))
    hold(f"launching a run where {RECORDS:,} records are / where none is", ratio, at_most=1.1)

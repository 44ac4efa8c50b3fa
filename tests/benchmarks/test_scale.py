"""Nothing gets slower, or larger, with the size of the data set or with the number of records.

Data sets of one's own, in JSON lines, train the embedded model for a few steps, each in a process of its own. The first
run of a data set reads, tokenises and keeps it, which takes a time for every row; those after it find what was kept.
"""

import json
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.benchmarks.command import ROOT, environment
from tests.benchmarks.conftest import Hold
from tests.benchmarks.ratio import Ratio, compared
from tests.benchmarks.synthetic import make_store

FEW, MANY, MOST = 1_000, 100_000, 1_000_000
HELD_OUT, STEPS = 100, 3
LONGER = 40  # steps, where their pace is measured
TARGETS = {
    "plan_s": {"at_most": 1.25},
    "first_step_s": {"at_most": 1.25},
    "child_bytes": {"at_most": 1.1},
    "parent_bytes": {"at_most": 1.1},
    "train_bytes": {"at_most": 1.1},
    "read_bytes": {"at_most": 1.25},
    "tokens_per_s": {"at_least": 0.95},
}
RECORDS = (10, 1_000, 10_000)
COUNTS = (8, 11, 14)  # words of a row, the same ones in any order: the longest batch is as long whatever the size
ANSWERS = (" a", " of")
WORDS = ("reads", "a", "row", "of", "text", "and", "says", "which", "word", "belongs", "to", "the", "list", "seen")

# What is timed runs in a process of its own, whose memory is the parent's of the run. A run that waits for its base
# would be timed with it, so the base comes first.
SCRIPT = """
import io, json, os, sys, time
from bench.app.plan import plan
from bench.launch import launch
from bench.launch.memory import resident
from bench.launch.view import View

class Watch(View):
    started = first = 0.0

    def event(self, event):
        if event["event"] == "started":
            self.started, self.first = time.perf_counter(), 0.0
        elif event["event"] == "step" and not self.first:
            self.first = time.perf_counter()

if __name__ == "__main__":
    view = Watch(io.StringIO())
    began = time.perf_counter()
    [run] = plan("run", sys.argv[1:])
    planned = time.perf_counter() - began
    *_, record = launch([run], view)
    assert record.status == "ok", record.reason
    print(json.dumps({
        "plan_s": planned,
        "first_step_s": view.first - view.started,
        "parent_bytes": resident(os.getpid())[1],
        "child_bytes": max(phase.peak_resident_bytes for phase in record.phases),
        "train_bytes": record.phase("train").peak_allocated_bytes,
        "tokens_per_s": record.training.tokens_per_s,
    }))
"""


READ = """
import os, sys, time
from bench.app.plan import plan
from bench.data import known
from bench.launch.memory import resident

[run] = plan("run", sys.argv[1:])
began = time.perf_counter()
known.load(run.task, run.data)
print(time.perf_counter() - began, resident(os.getpid())[1])
"""


@dataclass
class Measured:
    """One run: seconds to plan it and from its start to its first step, the most memory of both processes, its pace."""

    plan_s: float
    first_step_s: float
    parent_bytes: int
    child_bytes: int
    train_bytes: int
    tokens_per_s: float


class Trainings:
    """Runs on data sets of several sizes, with a cache of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held_out = self._file("held-out", HELD_OUT)

    def read(self, rows: int) -> int:
        """Make and read a new data set of so many rows; returns the most memory that it took, in bytes."""
        self._file(str(rows), rows)
        seconds, most = map(float, self._do(READ, rows, seed=0).splitlines()[-1].split())
        print(f"\n{rows:9,} rows are read in {seconds:.1f} s and {most / 2**20:,.0f} MiB")
        print(f"{rows:9,} rows, the first run:  {self.run(rows, seed=0)}")
        return int(most)

    def run(self, rows: int, seed: int, steps: int = STEPS) -> Measured:
        """A run on a data set that was read."""
        return Measured(**json.loads(self._do(SCRIPT, rows, seed, steps).splitlines()[-1]))

    def _do(self, script: str, rows: int, seed: int, steps: int = STEPS) -> str:
        data = [f"data.train={self.folder / f'{rows}.jsonl'}", f"data.validation={self.held_out}"]
        data += [f"data.test={self.held_out}", "task=file", "task.name=words", "task.max_length=64"]
        settings = [f"results={self.folder / 'results'}", f"seed={seed}", f"budget.steps={steps}"]
        (self.folder / "script.py").write_text(script)
        command = [sys.executable, "script.py", "method=lora", *data, *settings]
        done = subprocess.run(command, cwd=self.folder, env=environment(self.folder), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _file(self, name: str, rows: int) -> Path:
        path, draw = self.folder / f"{name}.jsonl", random.Random(name)
        with path.open("w") as file:
            for _ in range(rows):
                count = draw.choice(COUNTS)
                prompt = f"Words: {' '.join(draw.sample(WORDS[:count], count))}"
                file.write(json.dumps({"prompt": prompt, "completion": draw.choice(ANSWERS)}) + "\n")
        return path


@pytest.fixture
def trainings(tmp_path: Path) -> Trainings:
    return Trainings(tmp_path)


def _compare(trainings: Trainings, rows: int, rounds: int) -> dict[str, Ratio]:
    """Runs on `rows` rows beside such on few, by what is measured."""
    few, many = trainings.read(FEW), trainings.read(rows)
    pairs = [(trainings.run(rows, seed), trainings.run(FEW, seed)) for seed in range(1, rounds + 1)]
    for size, each in zip((rows, FEW), pairs[0], strict=True):
        print(f"{size:9,} rows, a later run:  {each}")
    found = {name: Ratio.of([(getattr(a, name), getattr(b, name)) for a, b in pairs]) for name in vars(pairs[0][0])}
    longer = [[trainings.run(size, seed, LONGER).tokens_per_s for size in (rows, FEW)] for seed in range(1, rounds + 1)]
    return found | {"read_bytes": Ratio.of([(many, few)]), "tokens_per_s": Ratio.of(longer)}


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rows", [MANY, MOST])
def test_a_run_takes_no_more_for_a_large_data_set(trainings: Trainings, hold: Hold, rows: int) -> None:
    ratios = _compare(trainings, rows, rounds=5)
    missed = []
    for name, target in TARGETS.items():
        try:
            hold(f"{name} of {rows:,} rows / of {FEW:,}", ratios[name], **target)
        except pytest.fail.Exception as error:
            missed.append(str(error))
    assert not missed, "\n".join(missed)


@pytest.mark.benchmark
def test_a_record_takes_no_longer_in_a_large_table(tmp_path: Path, hold: Hold) -> None:
    """Of a table that was not asked for before, of records that were read before."""
    for count in RECORDS:
        make_store(tmp_path / str(count), count)
    own = environment(tmp_path)
    questions = iter(range(1_000))

    def table(count: int) -> float:
        where = f"seed!={next(questions) + 100}"
        command = [sys.executable, "-m", "bench", "table", str(tmp_path / str(count)), "--format", "csv"]
        began = time.perf_counter()
        subprocess.run([*command, "--where", where], cwd=ROOT, env=own, capture_output=True, check=True)
        return (time.perf_counter() - began) / count

    few, some, many = RECORDS
    hold(f"table per record of {some:,} / of {few}", compared(lambda: table(some), lambda: table(few)), at_most=1.0)
    ratio = compared(lambda: table(many), lambda: table(some))
    hold(f"table per record of {many:,} / of {some:,}", ratio, at_most=1.0)

"""What the GPU tests share: records of `experiment=gpu_reference`, and what the advisor says of the same runs.

Nothing here needs a GPU. `tests/test_gpu_suite.py` takes it through the rehearsal and through figures made by hand.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.advise import questions
from bench.advise.memory import Estimate, Memory, Verdict, estimate
from bench.advise.trace import NotTraceable, Question, Trace, Workload
from bench.advise.units import GIB
from bench.config import from_dict
from bench.launch import launch
from bench.launch.view import View
from bench.records import store
from bench.records.schema import Phase, Record, Status

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference"
CAPS = (12, 16, 24, 40, 48, 80)  # GiB
DISTURBS = 0.2  # cores that other processes kept busy
LABELLED = 0.5  # of a row of the tasks `fixed`

Tracer = Callable[[Sequence[Question]], list[Trace | NotTraceable]]


@dataclass(frozen=True)
class Compared:
    """A run whose training was measured, and what was predicted of it from its configuration alone."""

    record: Record
    trace: Trace

    @property
    def measured(self) -> Phase:
        """The training."""
        found = self.record.phase("train")
        assert found is not None
        return found

    @property
    def memory(self) -> Memory:
        """What torch's allocator will hold, without CUDA's context: a limit on the allocator does not count that."""
        return estimate(self.trace, context_bytes=0)

    def line(self, predicted: float, measured: float, unit: float = GIB) -> str:
        """One line of a report."""
        error = predicted / measured - 1
        return f"{self.record.run_id:60} {predicted / unit:9.3f} {measured / unit:9.3f} {error:+8.1%}"


def make_missing(experiment: str, hours: float, *overrides: str) -> None:
    """Carry out what of an experiment has no record yet, and start no run once the hours are over."""
    command = [sys.executable, "-m", "bench", "sweep", f"experiment={experiment}", f"launch.within={hours:g}"]
    done = subprocess.run([*command, *overrides], cwd=ROOT)
    assert done.returncode in (0, 1), "the sweep could not be carried out"  # 1: a run is out of memory, or left


def question(record: Record) -> Question:
    """What the tracer is asked of a run on a task `fixed`, whose rows all have the same length."""
    length, train = record.config["task"]["max_length"], record.config["train"]
    rows = train["batch_size"] // train["gradient_accumulation"]
    assert record.environment is not None
    assert record.training is not None
    workload = Workload(rows, mean_tokens=length, longest_tokens=length, labelled=LABELLED, padded=False)
    return questions.question(record.config, workload, record.environment.device, record.training.precision)


def compare(records: Iterable[Record], tracer: Tracer) -> list[Compared]:
    """Every run that was trained to its end, beside its trace.

    Raises:
        NotTraceable: the advisor has nothing to say of one of them.
    """
    trained = [r for r in records if r.status is Status.OK and r.training is not None]
    found = []
    for record, trace in zip(trained, tracer([question(r) for r in trained]), strict=True):
        if isinstance(trace, NotTraceable):
            raise NotTraceable(f"{record.run_id}: {trace}")
        found.append(Compared(record, trace))
    return found


def errors(pairs: Iterable[tuple[float, float]]) -> list[float]:
    """Relative errors of (predicted, measured); above 0 too much was predicted."""
    return [predicted / measured - 1 for predicted, measured in pairs]


def mape(found: Sequence[float]) -> float:
    """The mean of the errors' sizes."""
    return sum(map(abs, found)) / len(found)


def share_outside(pairs: Sequence[tuple[Estimate, float]]) -> float:
    """Share of the measured values that are outside of the interval predicted for them."""
    return sum(not e.low <= measured <= e.high for e, measured in pairs) / len(pairs)


def share_above(pairs: Sequence[tuple[Estimate, float]]) -> float:
    """Share of the measured values that are above the upper bound: a run that was said to fit might not have."""
    return sum(measured > e.high for e, measured in pairs) / len(pairs)


def undisturbed(found: Iterable[Compared]) -> list[Compared]:
    """The runs during which nothing else kept the machine busy, so that their times count."""
    return [each for each in found if (each.record.training.foreign_cpu_cores or 0.0) <= DISTURBS]


def fitting(found: Iterable[Compared], gib: float) -> Compared | None:
    """The largest of the runs that the advisor says fit into a limit on the allocator, if there is one.

    It speaks of training. Runs that had more in another phase are left out: random weights are quantised only after
    they were on the GPU in full, which a download never is.
    """
    inside = [
        each
        for each in found
        if each.memory.verdict(gib * GIB) is Verdict.FITS
        and all((phase.peak_allocated_bytes or 0) < gib * GIB for phase in each.record.phases)
    ]
    return max(inside, key=lambda each: each.memory.reserved.value, default=None)


def refused(found: Iterable[Compared], gib: float) -> Compared | None:
    """The smallest of the runs that cannot fit, if there is one.

    That is where what is allocated is too much. Where only what is reserved is, the allocator can give back what it
    keeps for later, and either end is right.
    """
    outside = [
        each
        for each in found
        if each.memory.verdict(gib * GIB) is Verdict.DOES_NOT_FIT and each.memory.allocated.low > gib * GIB
    ]
    return min(outside, key=lambda each: each.memory.allocated.value, default=None)


def again(record: Record, results: Path, **hardware: Any) -> Record:
    """Do a recorded run again with other settings of `hardware`, and keep it in `results`."""
    config = record.config | {"hardware": record.config["hardware"] | hardware, "results": str(results)}
    return launch([from_dict(config)], View(sys.stderr))[-1]


def load(results: Path = REFERENCE) -> list[Record]:
    """The reference records that were made on GPUs."""
    found, damaged = store.load([results])
    assert not damaged, damaged
    return [r for r in found if r.environment is not None and r.environment.device == "cuda"]

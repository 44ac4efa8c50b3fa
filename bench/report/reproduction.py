"""Whether a run that was done again gave the same: which losses are equal, how far apart the others are, and why.

On the same CPU, with the same number of threads and the same versions of all libraries, the same configuration gives
the same losses to the last bit. Elsewhere sums are taken in another order, and training carries the difference on;
there losses are held to a tolerance.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.records.schema import Environment, Record, Scores
from bench.records.store import STEPS, read_lines
from bench.report.differences import Difference, differences, environment
from bench.report.sections import Stored

TOLERANCE = 0.02  # relative


@dataclass(frozen=True)
class Check:
    """One thing that both runs have; `gap` is its relative difference, and infinite where one side lacks it."""

    name: str
    first: str
    second: str
    equal: bool  # to the last bit
    gap: float = 0.0
    judged: bool = True  # also where bits may differ

    def holds(self, tolerance: float | None) -> bool:
        """Whether the two are near enough; None asks for the same bits."""
        return self.equal or (tolerance is not None and (not self.judged or self.gap <= tolerance))


@dataclass(frozen=True)
class Reproduction:
    """A run and its repetition."""

    checks: list[Check]
    tolerance: float | None  # None: the same bits were asked for
    environment: list[Difference]

    @property
    def failed(self) -> list[Check]:
        """What differs too much."""
        return [check for check in self.checks if not check.holds(self.tolerance)]

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        if self.failed:
            asked = "to the last bit" if self.tolerance is None else f"within {self.tolerance:g}"
            return f"Not reproduced {asked}: {', '.join(check.name for check in self.failed)}."
        if all(check.equal for check in self.checks):
            return f"Reproduced to the last bit: all {len(self.checks)} are equal."
        return f"Reproduced within a relative difference of {self.tolerance:g}."


def judge(first: Stored, second: Stored, tolerance: float | None = None) -> Reproduction:
    """Compare a run with its repetition.

    Args:
        first: the run, with its folder.
        second: its repetition, with its folder.
        tolerance: the largest relative difference of a loss (of step losses: of their mean difference to their mean);
            None: none at all on the same CPU set-up, else `TOLERANCE`.
    """
    one, two = first.record, second.record
    if tolerance is None and not same_cpu_setup(one.environment, two.environment):
        tolerance = TOLERANCE
    checks = [_text("status", one.status, two.status)]
    checks.append(_text("data", *(record.data.fingerprint if record.data else None for record in (one, two))))
    checks += _step_losses(_losses(first.folder), _losses(second.folder))
    checks += _figures(one, two)
    found = differences(environment([one]), environment([two]))
    return Reproduction(checks, tolerance, [each for each in found if each.key != "data.fingerprint"])


def same_cpu_setup(one: Environment | None, two: Environment | None) -> bool:
    """Whether the same losses to the last bit are to be expected."""
    if one is None or two is None or one.device != "cpu":
        return False
    facts = ("device", "hardware", "cpu", "threads", "libraries")
    return all(getattr(one, fact) == getattr(two, fact) for fact in facts)


def _text(name: str, first: str | None, second: str | None) -> Check:
    return Check(name, first or "", second or "", first == second, 0.0 if first == second else math.inf)


def _losses(folder: Path | None) -> list[float] | None:
    try:
        return None if folder is None else [float(line["loss"]) for line in read_lines(folder / STEPS)]
    except (FileNotFoundError, KeyError):
        return None


def _step_losses(first: list[float] | None, second: list[float] | None) -> Iterator[Check]:
    if not first:
        return  # a base run, one that ended before its first step, or one whose steps were not kept
    second = second or []
    both = list(zip(first, second, strict=False))
    apart = next((step for step, (a, b) in enumerate(both, 1) if not _same(a, b)), None)
    equal = apart is None and len(first) == len(second)
    where = f"{len(second)} steps" + (f", the first other loss at step {apart}" if apart else "")
    yield Check("step losses", f"{len(first)} steps", where, equal, _mean_gap(both))


def _mean_gap(pairs: Sequence[tuple[float, float]]) -> float:
    """Mean absolute difference by the mean of the first."""
    apart = math.fsum(0.0 if _same(a, b) else abs(b - a) for a, b in pairs)
    size = math.fsum(abs(a) for a, _ in pairs)
    gap = apart / size if size else 0.0 if pairs else math.inf
    return gap if not math.isnan(gap) else math.inf


def _figures(one: Record, two: Record) -> Iterator[Check]:
    first, second = dict(_values(one)), dict(_values(two))
    for name in dict.fromkeys([*first, *second]):
        a, b = first.get(name), second.get(name)
        if a is None or b is None:
            yield Check(name, _shown(a), _shown(b), False, math.inf)
        else:
            yield Check(name, _shown(a), _shown(b), _same(a, b), _mean_gap([(a, b)]), judged="loss" in name)


def _values(record: Record) -> Iterator[tuple[str, float]]:
    """Everything that the same bits in training make the same, by its name."""
    training, evaluation = record.training, record.evaluation
    losses: dict[str, float | None] = {}
    if training is not None:
        losses |= {"first loss": training.first_loss, "final loss": training.final_loss}
    if evaluation is not None:
        splits: dict[str, Scores | None] = {"validation": evaluation.validation, "test": evaluation.test}
        for name, scores in splits.items():
            losses[f"{name} loss"] = scores.loss if scores else None
        losses["loss on general text"] = evaluation.general_loss
        for name, scores in splits.items():
            losses |= {f"{name} {key}": metric.value for key, metric in (scores.metrics if scores else {}).items()}
    yield from ((name, value) for name, value in losses.items() if value is not None)


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def _shown(value: float | None) -> str:
    return "" if value is None else repr(value)

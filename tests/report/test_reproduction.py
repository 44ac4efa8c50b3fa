"""Whether a repetition is the same: bits on the same CPU set-up, a tolerance elsewhere, and each kind of difference."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.records.schema import Record, Status
from bench.records.store import append_line
from bench.report.differences import Difference
from bench.report.reproduction import Reproduction, judge
from bench.report.sections import Stored

Make = Callable[..., Record]
LOSSES = (2.0, 1.5, 1.0, 0.5)


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., Stored]:
    """A record in a folder of its own, with the losses of its steps."""

    def keep(record: Record, losses: tuple[float, ...] | None = LOSSES) -> Stored:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for step, loss in enumerate(losses or (), start=1):
            append_line(folder / "steps.jsonl", {"step": step, "loss": loss})
        return Stored(record, folder)

    return keep


def gaps(found: Reproduction) -> dict[str, float]:
    return {check.name: check.gap for check in found.failed}


def test_the_same_bits_everywhere(make: Make, kept: Callable[..., Stored]) -> None:
    found = judge(kept(make()), kept(make()))
    assert found.tolerance is None
    assert found.environment == []
    assert [check.name for check in found.checks] == [
        "status", "data", "step losses", "first loss", "final loss", "validation loss", "test loss",
        "loss on general text", "validation accuracy", "validation macro_f1", "test accuracy", "test macro_f1",
    ]  # fmt: skip
    assert found.verdict == "Reproduced to the last bit: all 12 are equal."


def test_one_bit_of_one_step_is_seen_on_the_same_cpu(make: Make, kept: Callable[..., Stored]) -> None:
    other = (*LOSSES[:2], math.nextafter(1.0, 2.0), LOSSES[3])
    found = judge(kept(make()), kept(make(), other))
    [check] = found.failed
    assert (check.name, check.second) == ("step losses", "4 steps, the first other loss at step 3")
    assert found.verdict == "Not reproduced to the last bit: step losses."
    assert judge(kept(make()), kept(make(), other), tolerance=1e-6).verdict == (
        "Reproduced within a relative difference of 1e-06."
    )


@pytest.mark.parametrize(
    ("facts", "key"),
    [
        ({"threads": 4}, "threads"),
        ({"hardware": "cpu-other"}, "hardware"),
        ({"cpu": "Other"}, "cpu"),
        ({"libraries": {"torch": "2.14.0"}}, "libraries.torch"),
    ],
)
def test_on_another_set_up_losses_may_differ_a_little(
    make: Make, where: Callable[..., Any], kept: Callable[..., Stored], facts: dict[str, Any], key: str
) -> None:
    there = make(loss=0.505, accuracy=0.5, where=where(**facts))  # 0.5 and 0.75 here
    found = judge(kept(make()), kept(there, (2.02, 1.5, 1.0, 0.5)))
    assert found.tolerance == 0.02
    assert not found.failed  # the accuracy is shown, not judged
    assert found.verdict == "Reproduced within a relative difference of 0.02."
    assert key in [each.key for each in found.environment]
    names = {check.name: check.gap for check in found.checks}
    assert names["step losses"] == pytest.approx(0.02 / 5)
    assert names["validation loss"] == pytest.approx(0.01)
    assert names["test accuracy"] == pytest.approx(1 / 3)
    assert gaps(judge(kept(make()), kept(there), tolerance=0.005)) == {
        name: pytest.approx(0.01, rel=0.05) for name in ("final loss", "validation loss", "test loss")
    }


def test_a_gpu_is_never_asked_for_the_same_bits(
    make: Make, where: Callable[..., Any], kept: Callable[..., Stored]
) -> None:
    gpu = make(where=where(device="cuda"))
    assert judge(kept(gpu), kept(gpu)).tolerance == 0.02
    assert judge(kept(gpu), kept(gpu)).verdict.startswith("Reproduced to the last bit")


def test_another_commit_is_listed_and_asks_for_the_same_bits(
    make: Make, where: Callable[..., Any], kept: Callable[..., Stored]
) -> None:
    found = judge(kept(make()), kept(make(loss=0.6, where=where(git_commit="fedcba"))))
    assert found.environment == [Difference("git_commit", "0123456789abcdef", "fedcba")]
    assert set(gaps(found)) == {"final loss", "validation loss", "test loss"}


def test_other_data_another_end_and_what_one_side_lacks_are_never_the_same(
    make: Make, kept: Callable[..., Stored]
) -> None:
    other = make()
    assert other.data is not None
    other.data = replace(other.data, fingerprint="beef")
    assert gaps(judge(kept(make()), kept(other), 0.5)) == {"data": math.inf}
    failed = gaps(judge(kept(make()), kept(make(status=Status.OOM)), 0.5))
    assert failed["status"] == failed["validation loss"] == failed["final loss"] == math.inf
    lacking = gaps(judge(kept(make()), kept(make(test=False)), 0.5))
    assert lacking == dict.fromkeys(("test loss", "test accuracy", "test macro_f1"), math.inf)


def test_losses_that_are_not_numbers(make: Make, kept: Callable[..., Stored]) -> None:
    nan = (2.0, math.nan)
    assert not judge(kept(make(), nan), kept(make(), nan)).failed
    assert gaps(judge(kept(make(), nan), kept(make(), (2.0, 1.0)), 0.5)) == {"step losses": math.inf}


def test_fewer_steps_are_not_the_same(make: Make, kept: Callable[..., Stored]) -> None:
    [check] = judge(kept(make()), kept(make(), LOSSES[:3])).failed
    assert (check.first, check.second) == ("4 steps", "3 steps")
    assert not judge(kept(make()), kept(make(), LOSSES[:3]), 0.01).failed  # of a budget in seconds
    assert "step losses" in gaps(judge(kept(make()), kept(make(), None), 0.01))
    assert "step losses" not in [check.name for check in judge(kept(make(), None), kept(make())).checks]

"""The GPU suite without a GPU: what its experiment runs, a rehearsal of some of it, and that its tests can fail."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.advise.trace import NotTraceable, Trace, Workload
from bench.advise.units import GIB
from bench.app import plan
from bench.config import Run
from bench.launch.running import unreached
from bench.measure import memory as meter
from bench.objective import of
from bench.records.schema import Environment, Phase, Quantiles, Record, Status, Training
from bench.worker import work
from tests.gpu import suite, test_caps, test_memory
from tests.gpu.suite import Compared, compare

SIZES = {"qwen2.5-0.5b": "0.5B", "llama-3.2-1b": "1B", "llama-3.2-3b": "3B", "llama-3.1-8b": "8B"}
METHODS = ["lora", "qlora", "full", "dpo", "dpo-qlora", "prefix", "prompt", "ptuning"]


@pytest.fixture(scope="module")
def planned() -> list[Run]:
    return plan("sweep", ["experiment=gpu_reference"])


def _shape(run: Run) -> tuple[int, int]:
    return run.train.batch_size, run.task.max_length


def test_the_experiment_is_every_combination_once(planned: list[Run]):
    found = {(r.model.name, r.title(), r.train.gradient_checkpointing, _shape(r)) for r in planned}
    assert found == {
        (model, method, checkpointing, shape)
        for model in SIZES
        for method in METHODS
        for checkpointing in (False, True)
        for shape in ((1, 512), (4, 1024), (2, 4096))
    }
    assert len(planned) == len(found) == 192


def test_the_experiment_begins_with_every_method_on_a_common_batch(planned: list[Run]):
    assert [run.title() for run in planned[:8]] == METHODS
    assert {(run.model.name, _shape(run), run.train.gradient_checkpointing) for run in planned[:8]} == {
        ("llama-3.2-1b", (4, 1024), False)
    }
    assert {run.model.name for run in planned[:32]} == SIZES.keys()
    assert {run.train.gradient_checkpointing for run in planned[:64]} == {False, True}
    assert [_shape(run) for run in planned[::64]] == [(4, 1024), (2, 4096), (1, 512)]


def test_the_experiment_needs_no_network_and_is_short(planned: list[Run]):
    for run in planned:
        assert run.model.bare()  # random weights from stated facts, with the embedded tokenizer
        assert run.task.source == "fixed"
        assert not run.measure.test
        assert not run.measure.forgetting
        assert (run.budget.steps, run.hardware.device, run.results) == (15, "cuda", "results/reference")
        assert run.train.gradient_accumulation == 1


def test_the_rehearsal_differs_in_size_and_device_alone(planned: list[Run]):
    rehearsed = plan("sweep", ["experiment=gpu_rehearsal"])
    settings = [(run.title(), run.train.gradient_checkpointing) for run in rehearsed]
    assert settings == list(dict.fromkeys((run.title(), run.train.gradient_checkpointing) for run in planned))
    assert {(run.model.name, _shape(run), run.hardware.device) for run in rehearsed} == {("tiny-llama", (2, 64), "cpu")}
    for run in rehearsed:
        real = planned[0]
        assert (run.budget, run.measure, run.launch) == (real.budget, real.measure, real.launch)
        assert replace(run.train, gradient_checkpointing=False) == replace(real.train, batch_size=2)
        assert (run.model.weights, run.method.learning_rate) == ("random", real.method.learning_rate)


@pytest.mark.parametrize("overrides", [["method=lora"], ["method=dpo", "train.gradient_checkpointing=true"]])
def test_a_run_of_the_rehearsal_takes_15_steps_over_rows_of_exact_length(overrides: list[str], tmp_path: Path):
    (run,) = plan("run", ["experiment=gpu_rehearsal", *overrides])
    (tmp_path / "cpu" / run.run_id()).mkdir(parents=True)
    record = work(run, tmp_path / "cpu" / run.run_id(), lambda event: None)
    assert record.status is Status.OK, record.traceback
    assert (record.training.steps, record.training.warmup_steps, record.training.micro_batch_size) == (15, 5, 2)
    assert record.training.tokens == 15 * 2 * 64 * of(run.method).sequences
    assert record.training.trained_tokens == record.training.tokens // 2
    asked = suite.question(record)
    assert asked.workload == Workload(2, mean_tokens=64, longest_tokens=64, labelled=0.5, padded=False)
    assert asked.device == "cpu"
    assert not {"hardware", "launch", "results"} & asked.run.keys()


def test_prefix_tuning_with_checkpointing_is_recorded_as_unsupported(tmp_path: Path):
    (run,) = plan("run", ["experiment=gpu_rehearsal", "method=prefix", "train.gradient_checkpointing=true"])
    (tmp_path / "cpu" / run.run_id()).mkdir(parents=True)
    record = work(run, tmp_path / "cpu" / run.run_id(), lambda event: None)
    assert record.status is Status.UNSUPPORTED
    test_memory.test_every_run_ended_as_it_may([record])


def test_without_the_mark_no_test_on_a_gpu_is_chosen():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/gpu"]
    done = subprocess.run(command, cwd=suite.ROOT, capture_output=True, text=True)
    assert done.returncode == 5, done.stdout  # pytest's for: no tests
    assert re.search(r"no tests collected \([1-9]\d* deselected\)", done.stdout)


# --- figures made by hand: the tests on a GPU pass with right predictions, and fail with wrong ones ---


def _trace(allocated: float, reserved: float) -> Trace:
    return Trace(0, int(allocated * GIB), int(reserved * GIB), 0, {}, "", 0, 0, 0, (), 0, 0, 0)


@pytest.fixture
def measured(planned: list[Run]) -> Callable[..., Compared]:
    """Makes a run of the experiment with measured figures in GiB, and predictions that are `off` by a factor."""
    left = iter(planned)

    def make(allocated: float, off: float = 1.0, load: float = 1.0, context: float = 0.5) -> Compared:
        run = next(left)
        record = unreached(run, Status.OK, "")
        record.environment = Environment("nvidia-x", "cuda", "NVIDIA X", 80 * GIB, None, None, None, None, "", None, {})
        tokens = 15 * run.train.batch_size * run.task.max_length * of(run.method).sequences
        times = Quantiles(0.1, 0.1, 0.1)
        record.training = Training(
            15, 5, 15 * run.train.batch_size, tokens, tokens // 2, 1.5, times, 1.0, 1.0, 1.0, 1.0, 1e-6, "", "", "", ""
        )
        peaks = [int(each * GIB) for each in (allocated, 1.1 * allocated, 1.1 * allocated + context)]
        record.phases = [Phase("load", 1.0, "cuda", int(load * GIB)), Phase("train", 1.0, "cuda", *peaks)]
        return Compared(record, _trace(off * allocated, off * 1.1 * allocated))

    return make


CHECKS = [
    test_memory.test_rows_have_the_lengths_that_are_predicted_for,
    test_memory.test_allocated,
    test_memory.test_reserved,
    test_memory.test_device,
]


@pytest.mark.parametrize("check", CHECKS)
def test_right_predictions_pass(check: Callable[..., None], measured: Callable[..., Compared]):
    check([measured(gib, off=off) for gib, off in ((4, 1.01), (9, 1.0), (30, 0.99))])


@pytest.mark.parametrize("off", [0.9, 1.1])
def test_wrong_predictions_of_what_is_allocated_fail(off: float, measured: Callable[..., Compared]):
    with pytest.raises(AssertionError):
        test_memory.test_allocated([measured(gib, off=off) for gib in (4, 9, 30)])


def test_wrong_predictions_of_what_is_reserved_fail(measured: Callable[..., Compared]):
    with pytest.raises(AssertionError):  # one of three was said to need less than it did
        test_memory.test_reserved([measured(gib, off=off) for gib, off in ((4, 1.0), (9, 0.92), (30, 1.0))])


def test_a_context_that_a_run_has_alone_fails(measured: Callable[..., Compared]):
    with pytest.raises(AssertionError):
        test_memory.test_device([measured(4), measured(5), measured(6, context=3.0)])


def test_rows_of_another_length_fail(measured: Callable[..., Compared]):
    wrong = measured(4)
    wrong.record.training.tokens += 1
    with pytest.raises(AssertionError):
        test_memory.test_rows_have_the_lengths_that_are_predicted_for([wrong])


def test_a_run_that_failed_is_named(measured: Callable[..., Compared]):
    failed = measured(4).record
    failed.status, failed.reason = Status.CRASHED, "killed"
    with pytest.raises(AssertionError, match="killed"):
        test_memory.test_every_run_ended_as_it_may([failed])


def test_what_cannot_be_traced_is_named(measured: Callable[..., Compared]):
    record = measured(4).record
    with pytest.raises(NotTraceable, match=f"{record.run_id}: dynamic shapes"):
        compare([record], lambda questions: [NotTraceable("dynamic shapes")])
    record.status = Status.OOM
    assert compare([record], lambda questions: []) == []


def test_the_runs_nearest_to_a_limit_are_chosen(measured: Callable[..., Compared]):
    runs = [measured(gib) for gib in (5, 10, 13, 20)]
    runs.append(measured(10.2, load=16))  # more in loading than the limit
    assert suite.fitting(runs, 12) is runs[1]
    assert suite.refused(runs, 12) is runs[2]
    assert suite.refused([measured(11.5)], 12) is None  # 12.65 reserved, of which the allocator can give back some
    assert suite.fitting(runs, 2) is None


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[[Status], None]:
    """Lets runs under a limit end in a way, and gives the tests the limit of 12 GiB alone."""
    monkeypatch.setattr(test_caps, "_limits", lambda: [12])

    def end(status: Status) -> None:
        def again(record: Record, results: Path, memory_gib: float) -> Record:
            ended = replace(record, status=status, reason="OutOfMemoryError: CUDA" if status is Status.OOM else "")
            ended.environment = replace(record.environment, device_memory_bytes=int(memory_gib * GIB))
            return ended

        monkeypatch.setattr(test_caps, "again", again)

    return end


@pytest.mark.parametrize(("status", "right"), [(Status.OK, "fits"), (Status.OOM, "does not fit")])
def test_limits_pass_if_the_advisor_is_right_and_fail_if_not(
    status: Status, right: str, limits: Callable[[Status], None], measured: Callable[..., Compared], tmp_path: Path
):
    runs = [measured(gib) for gib in (10, 13)]
    limits(status)
    said = {
        "fits": test_caps.test_what_is_said_to_fit_fits,
        "does not fit": test_caps.test_what_is_said_not_to_fit_does_not,
    }
    for verdict, check in said.items():
        if verdict == right:
            check(runs, tmp_path)
        else:
            with pytest.raises(AssertionError):
                check(runs, tmp_path)


def test_a_limit_that_no_run_is_near_to_fails(measured: Callable[..., Compared]):
    with pytest.raises(pytest.fail.Exception, match="no recorded run is that near to 12 GiB"):
        test_caps._choice(suite.fitting([measured(20)], 12), 12)


# --- the limit itself ---


def test_a_limit_is_one_of_a_gpu_s():
    with pytest.raises(ValueError, match=r"^hardware\.memory_gib limits the memory of an NVIDIA GPU, and this run "):
        meter.limit_memory(12, "cpu")


def test_a_limit_is_set_and_must_not_be_more_than_there_is(monkeypatch: pytest.MonkeyPatch):
    class Properties:
        total_memory = 24 * GIB

    told: list[float] = []
    monkeypatch.setattr(meter.torch.cuda, "get_device_properties", Properties)
    monkeypatch.setattr(meter.torch.cuda, "get_device_name", lambda: "NVIDIA X")
    monkeypatch.setattr(meter.torch.cuda, "set_per_process_memory_fraction", told.append)
    assert meter.limit_memory(12, "cuda") == 12 * GIB
    assert told == [0.5]
    with pytest.raises(ValueError, match=r"^hardware\.memory_gib must be <= the 24\.0 of NVIDIA X, got 80$"):
        meter.limit_memory(80, "cuda")

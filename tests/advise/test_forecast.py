"""Before a run trains: its batches from its rows, and a prediction in its record, log and view."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from bench import forecast as module
from bench.advise import cards, tracer
from bench.advise.memory import CPU_ABOVE, CPU_BELOW
from bench.advise.predict import predict, prediction
from bench.advise.questions import question, question_of
from bench.advise.trace import NotTraceable, Question, Trace, Workload
from bench.config import Budget, Launch, Measure, Model, Run, Task, Train, to_dict
from bench.forecast import forecast, mean_longest, workload
from bench.method import get
from bench.records import store
from bench.records.schema import Environment, PredictedBytes, Status
from bench.worker import work

IGNORED = -100
TRACE = Trace(
    live_bytes=1000_000, allocated_bytes=2000_000, reserved_bytes=3000_000, static_bytes=500_000,
    breakdown={"weights": 500_000, "activations": 1500_000}, peak_operation="mm", trainable_parameters=10,
    total_parameters=100, checkpoint_bytes=40, operations=(), dispatches=5, tokens=7, layers=2,
)  # fmt: skip
ROWS = Dataset.from_list([
    {"input_ids": [1] * 10, "labels": [IGNORED] * 8 + [1] * 2},
    {"input_ids": [1] * 20, "labels": [IGNORED] * 14 + [1] * 6},
])  # fmt: skip

ANY = Run(get("lora")(), train=Train(group_by_length=False))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """The questions that a tracer was asked, which knows one answer."""
    found: list[Question] = []

    def traces(questions: Sequence[Question], progress: Any = None) -> list[Trace | NotTraceable]:
        found.extend(questions)
        return [TRACE for _ in questions]

    monkeypatch.setattr(tracer, "traces", traces)
    return found


def test_the_expected_longest_of_a_batch_is_that_of_all_draws() -> None:
    lengths = [3, 7, 7, 20]
    every = [max(draw) for draw in product(lengths, repeat=3)]
    assert mean_longest(lengths, 3) == pytest.approx(sum(every) / len(every))
    assert mean_longest(lengths, 1) == sum(lengths) / 4


def test_the_batches_of_rows_of_one_length_are_those_that_come() -> None:
    rows = Dataset.from_list([{"input_ids": [1] * n, "labels": [1] * n} for n in (10, 30) * 100])
    grouped, drawn = (Run(get("lora")(), train=Train(batch_size=2, group_by_length=each)) for each in (True, False))
    found = workload(grouped, rows, 2)
    assert (found.rows, found.mean_tokens, found.longest_tokens, found.padded) == (2, 20, 30, True)
    assert found.labelled == pytest.approx(1, abs=0.02)
    assert workload(drawn, rows, 2).mean_tokens == 25
    assert workload(grouped, rows, 1).mean_tokens == 20


def test_the_batches_of_rows() -> None:
    # of two rows, a batch of two is as long as the longer one in three of four draws: 17.5 places, 4 labels a row
    assert workload(ANY, ROWS, 2) == Workload(rows=2, mean_tokens=18, longest_tokens=20, labelled=4 / 17.5, padded=True)
    assert workload(ANY, ROWS, 1) == Workload(rows=1, mean_tokens=15, longest_tokens=20, labelled=4 / 15, padded=False)
    assert not workload(ANY, ROWS.select([0, 0]), 2).padded


@pytest.mark.parametrize("train", [Train(group_by_length=True), Train(group_by_length=False), Train(packing=True)])
def test_rows_that_were_drawn_stand_for_many(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [*sorted([10, 20, 30, 40] * 1_000), 99]
    rows = Dataset.from_list([{"input_ids": [1] * n, "labels": [-100] * (n - 9) + [1] * 9} for n in lengths])
    run = Run(get("lora")(), train=replace(train, batch_size=8))
    large = replace(run, train=replace(train, batch_size=2_000))
    of_all, of_all_in_large_batches = workload(run, rows, 4), workload(large, rows, 4)
    monkeypatch.setattr(module, "DRAWN", 1_000)
    found = workload(run, rows, 4)
    assert found.mean_tokens == pytest.approx(of_all.mean_tokens, abs=1)
    assert found.labelled == pytest.approx(of_all.labelled, rel=0.03)
    assert found.longest_tokens == of_all.longest_tokens > 40
    assert workload(large, rows, 4) == of_all_in_large_batches  # too few batches for a part of them to be like all


def test_a_pair_is_as_long_as_its_longer_row() -> None:
    pairs = Dataset.from_list([{"prompt_ids": [1] * 5, "chosen_ids": [2] * 3, "rejected_ids": [2]}])
    assert workload(ANY, pairs, 4) == Workload(rows=4, mean_tokens=8, longest_tokens=8, labelled=2 / 8, padded=False)


def test_a_cpu_is_predicted_what_tensors_hold_and_a_gpu_what_the_allocator_does() -> None:
    batches = Workload(2, 18, 20)
    on_cpu = prediction(Question({}, batches, "cpu"), TRACE)
    assert on_cpu.live_bytes == PredictedBytes(1000_000, round(1e6 * (1 - CPU_BELOW)), round(1e6 * (1 + CPU_ABOVE)))
    assert (on_cpu.allocated_bytes, on_cpu.reserved_bytes, on_cpu.device_bytes) == (None, None, None)
    on_gpu = prediction(Question({}, batches, "cuda"), TRACE, replace(cards.load("l40s"), context_bytes=500))
    assert on_gpu.live_bytes is None
    assert on_gpu.allocated_bytes is not None
    assert on_gpu.reserved_bytes is not None
    assert on_gpu.device_bytes is not None
    assert (on_gpu.allocated_bytes.value, on_gpu.reserved_bytes.value) == (2000_000, 3000_000)
    assert on_gpu.device_bytes.value == 3000_500
    assert (on_gpu.evidence, on_gpu.reason, on_gpu.breakdown) == ("traced", None, TRACE.breakdown)
    assert on_gpu.workload == {
        "rows": 2, "mean_tokens": 18, "longest_tokens": 20, "labelled": 0.5, "padded": True,
        "reference": True, "classes": 2,
    }  # fmt: skip


def test_what_cannot_be_predicted_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def traces(questions: Sequence[Question], progress: Any = None) -> list[Trace | NotTraceable]:
        return [NotTraceable("its shapes depend on data")]

    monkeypatch.setattr(tracer, "traces", traces)
    found = predict(Question({}, Workload(2, 18, 20), "cpu"))
    assert (found.evidence, found.reason, found.live_bytes) == (None, "its shapes depend on data", None)
    assert found.seconds is not None

    def none(questions: Sequence[Question], progress: Any = None) -> list[Trace | NotTraceable]:
        raise OSError("no more processes")

    monkeypatch.setattr(tracer, "traces", none)
    assert predict(Question({}, Workload(2, 18, 20), "cpu")).reason == "no more processes"


def test_a_device_without_a_model_of_its_memory_is_not_asked_about(asked: list[Question]) -> None:
    environment = Environment("mac", "mps", "Apple M3", None, None, None, None, None, "macOS", None, {})
    found = forecast(Run(get("lora")()), ROWS, 2, environment, "float32", 2, lambda event: None)
    assert (found.reason, found.evidence, asked) == ("there is no model of memory on mps", None, [])


def test_runs_that_differ_in_the_seed_ask_the_same() -> None:
    batches = Workload(2, 18, 20)
    one, other = (
        question(to_dict(Run(get("lora")(), seed=s, results=f"r{s}")), batches, "cpu", "float32") for s in (0, 1)
    )
    assert one == other
    assert one.run["train"]["precision"] == "float32"
    wider = to_dict(Run(get("lora")(rank=64)))
    assert question(wider, batches, "cpu", "float32") != one


def test_a_run_says_and_keeps_its_prediction_and_trains_the_same(
    tiny_llama: str, tmp_path: Path, asked: list[Question], capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(
        get("lora")(dropout=0.1),
        model=Model(name="tiny", path=tiny_llama),
        task=Task(
            name="sums", source="arithmetic", kind="generation", train_examples=16, validation_examples=3,
            test_examples=2, max_length=64, max_new_tokens=2,
        ),
        budget=Budget(name="few", steps=3),
        train=Train(batch_size=4, precision="float32"),
        measure=Measure(warmup_steps=1, forgetting=False, test=False),
        results=str(tmp_path),
    )  # fmt: skip
    events: list[dict[str, Any]] = []
    folders = [tmp_path / name for name in ("with", "without")]
    for folder, launch in zip(folders, (Launch(), Launch(predict=False)), strict=True):
        folder.mkdir()
        record = work(replace(run, launch=launch), folder, events.append)
        assert record.status is Status.OK, record.traceback
    told, silent = (store.read(folder / store.RECORD) for folder in folders)

    assert silent.prediction is None
    assert told.run_id == silent.run_id
    assert [phase.name for phase in told.phases][:3] == ["load", "predict", "adapt"]
    assert told.prediction is not None
    assert told.prediction.live_bytes is not None
    assert told.prediction.live_bytes.value == TRACE.live_bytes
    assert {"event": "prediction", "memory_bytes": TRACE.live_bytes} in events
    assert "prediction: peak memory of training 1 MiB" in capsys.readouterr().out
    assert [asked[0]] == asked == [question_of(told)]
    assert question_of(silent) is None
    losses = [[line["loss"] for line in store.read_lines(folder / store.STEPS)] for folder in folders]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 3

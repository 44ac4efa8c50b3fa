"""The child's side: whole records, the same losses in every process, and a status for every way to fail."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.config import Budget, Launch, Measure, Model, Run, Task, Train, to_dict
from bench.data import tasks
from bench.method import Context, Method
from bench.objective import of
from bench.records import store
from bench.records.schema import Record, Status
from bench.worker import work
from methods.cpo import Cpo
from methods.dpo import Dpo
from methods.full import Full
from methods.kto import Kto
from methods.lora import Lora
from methods.orpo import Orpo
from methods.prefix import Prefix
from methods.qlora import Qlora

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS, ADAPTER = 94528, 16384  # parameters of the tiny model and of LoRA on it
TASK = Task(
    name="sums",
    source="arithmetic",
    kind="generation",
    train_examples=24,
    validation_examples=6,
    test_examples=5,
    max_length=128,
    max_new_tokens=3,
)


@pytest.fixture
def make_run(tiny_llama: str, tmp_path: Path) -> Callable[..., Run]:
    """Makes runs of six steps on the tiny model; the base run with `method=None`."""

    def make(method: Method | None, seed: int = 0, measure: Measure | None = None, **train: Any) -> Run:
        return Run(
            method,
            model=Model(name="tiny", path=tiny_llama),
            task=TASK,
            budget=Budget(name="six", steps=6),
            train=Train(**({"batch_size": 4, "precision": "float32"} | train)),
            measure=measure or Measure(warmup_steps=1, general_tokens=1024),
            launch=Launch(predict=False),
            seed=seed,
            results=str(tmp_path),
        )

    return make


def folder_of(run: Run) -> Path:
    folder = store.run_folder(Path(run.results), "cpu-test", run.run_id())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def carry_out(run: Run) -> tuple[Record, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    record = work(run, folder_of(run), events.append)
    assert store.read(folder_of(run) / store.RECORD) == record
    return record, json.loads(json.dumps(events))


@pytest.mark.parametrize("method", [Full(), Lora()], ids=lambda method: method.name)
def test_a_run_in_bfloat16_learns_what_one_in_float32_does(method: Method, make_run):
    """Autocast that is on around the phases of a run, or only nested there, would keep the first step's weights."""
    losses = []
    for precision in ("float32", "bfloat16"):
        run = make_run(method, precision=precision)
        record, _ = carry_out(run)
        assert record.training.precision == precision
        losses.append([line["loss"] for line in store.read_lines(folder_of(run) / store.STEPS)])
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    assert losses[0][-1] < 0.95 * losses[0][0]


def test_a_run_beside_its_base_run_is_recorded_whole(make_run):
    run = make_run(Lora())
    base, _ = carry_out(run.base())
    record, events = carry_out(run)

    assert (record.status, record.reason, record.failed_phase, record.traceback) == (Status.OK, None, None, None)
    assert (record.run_id, record.group, record.config) == (run.run_id(), run.group(), to_dict(run))
    assert (record.method, record.model, record.task, record.seed) == ("lora", "tiny", "sums", 0)
    assert record.started_at <= record.finished_at
    assert record.environment.hardware == "cpu-test"
    assert record.environment.device == "cpu"
    assert record.data == tasks.load(TASK).facts()
    assert (record.parameters.trainable, record.parameters.total) == (ADAPTER, WEIGHTS + ADAPTER)

    assert [phase.name for phase in record.phases] == ["load", "adapt", "train", "evaluate", "save"]
    assert all(phase.seconds > 0 and phase.memory_source for phase in record.phases)
    assert record.phase("train").peak_allocated_bytes > 4 * WEIGHTS  # it holds the weights at least
    assert record.phase("train").seconds > record.training.seconds > 0
    assert ADAPTER * 4 < record.checkpoint_bytes < ADAPTER * 4 * 1.5

    steps = store.read_lines(folder_of(run) / store.STEPS)
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert record.training.steps == 6
    assert record.training.first_loss == steps[0]["loss"]
    lines = store.read_lines(folder_of(run) / store.EXAMPLES)
    assert [line["id"] for line in lines] == [e.id for e in tasks.load(TASK).test]

    found = record.evaluation
    assert (found.validation.examples, found.test.examples) == (6, 5)
    assert found.validation.metrics.keys() == found.test.metrics.keys() == {
        "exact_match", "perplexity", "bits_per_byte", "preference_accuracy", "preference_margin",
    }  # fmt: skip
    assert found.test.metrics["exact_match"].value == sum(line["correct"] for line in lines) / 5
    assert found.decoding == {"method": "greedy", "max_new_tokens": 3}
    assert base.evaluation.general_loss > 0
    assert base.evaluation.forgetting is None
    assert found.forgetting == found.general_loss - base.evaluation.general_loss != 0

    assert (base.method, base.training, base.parameters, base.checkpoint_bytes) == ("base", None, None, None)
    assert [phase.name for phase in base.phases] == ["load", "evaluate"]
    assert found.validation.loss < base.evaluation.validation.loss

    assert [event["name"] for event in events if event["event"] == "phase"] == [p.name for p in record.phases]
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 5, 6]
    assert {(e["split"], e["of"]) for e in events if e["event"] == "evaluate"} == {("validation", 6), ("test", 5)}


def test_a_method_is_told_of_the_data_and_of_the_steps(make_run, monkeypatch):
    seen: list[Context] = []
    adapt = Lora.adapt
    monkeypatch.setattr(
        Lora, "adapt", lambda self, model, context: (seen.append(context), adapt(self, model, context))[1]
    )
    for budget in (Budget(epochs=1), Budget(seconds=0.1)):
        carry_out(replace(make_run(Lora(), measure=Measure(forgetting=False)), budget=budget))
    epoch, clock = seen
    assert (epoch.steps, clock.steps, epoch.contents) == (6, None, True)
    assert len(epoch.rows) == 24
    assert len(epoch.examples) == 8
    row = epoch.rows[0]
    assert epoch.tokenizer.decode(row["input_ids"], skip_special_tokens=True) == epoch.examples[0]
    assert len(row["labels"]) == len(row["input_ids"])


@pytest.mark.parametrize(
    "method", [Dpo(), Dpo(adapter=Full()), Kto(adapter=Full()), Orpo(), Cpo(), Qlora()], ids=lambda m: m.title()
)
def test_every_objective_and_storage_ends_well(method: Method, make_run):
    record, _ = carry_out(make_run(method, measure=Measure(forgetting=False)))
    assert (record.status, record.reason) == (Status.OK, None)
    names = [phase.name for phase in record.phases]
    reference = ["reference"] if of(method).reference else []
    assert names == ["load", *reference, "adapt", "train", "evaluate", "save"]
    assert record.evaluation.general_loss is None
    assert record.evaluation.forgetting is None
    assert record.parameters.total == WEIGHTS + (0 if method.trains_base_weights() else ADAPTER)


def test_a_search_does_not_look_at_the_test_split(make_run):
    run = make_run(Lora(), measure=Measure(test=False, forgetting=False))
    record, events = carry_out(run)
    assert record.evaluation.test is None
    assert not (folder_of(run) / store.EXAMPLES).exists()
    assert {e["split"] for e in events if e["event"] == "evaluate"} == {"validation"}


def test_without_a_usable_base_record_there_is_no_forgetting(make_run, capsys):
    run = make_run(Lora(), measure=Measure(test=False, general_tokens=256))
    record, _ = carry_out(run)
    assert record.evaluation.general_loss > 0
    assert record.evaluation.forgetting is None
    (folder_of(run.base()) / store.RECORD).write_text("{")
    record, _ = carry_out(run)
    assert (record.status, record.evaluation.forgetting) == (Status.OK, None)
    assert "record.json: is not valid JSON" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "file", "asked", "usual"),
    [(Lora(), "adapter_model", {"keep_adapter": True}, True), (Full(), "model", {"keep_model": True}, False)],
    ids=["adapter", "model"],
)
def test_an_adapter_is_kept_and_a_whole_model_only_if_asked_for(method, file, asked, usual, make_run):
    quick = Measure(test=False, forgetting=False)
    run = make_run(method, measure=quick)
    record, _ = carry_out(run)
    assert store.has_weights(folder_of(run)) is usual
    other = replace(run, launch=Launch(predict=False, **({"keep_adapter": False} if usual else asked)), seed=1)
    found, _ = carry_out(other)
    assert store.has_weights(folder_of(other)) is not usual
    there = folder_of(run if usual else other) / store.WEIGHTS / f"{file}.safetensors"
    assert there.stat().st_size == record.checkpoint_bytes == found.checkpoint_bytes
    assert not list(folder_of(other if usual else run).glob("tmp*"))


def test_what_an_earlier_attempt_left_is_not_mixed_in(make_run):
    run = make_run(Lora(), measure=Measure(forgetting=False))
    for name in (store.STEPS, store.EXAMPLES):
        store.append_line(folder_of(run) / name, {"step": 99})
    carry_out(run)
    assert [line["step"] for line in store.read_lines(folder_of(run) / store.STEPS)] == [1, 2, 3, 4, 5, 6]
    assert len(store.read_lines(folder_of(run) / store.EXAMPLES)) == 5


@dataclass
class Broken(Lora):
    """LoRA that fails after it has adapted the model."""

    def adapt(self, model: Any, context: Context) -> Any:
        super().adapt(model, context)
        raise self.error


def breaking(error: BaseException) -> Method:
    method = Broken(name="broken")
    method.error = error  # type: ignore[attr-defined]
    return method


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (RuntimeError("shapes do not fit"), Status.FAILED, "RuntimeError: shapes do not fit"),
        (torch.OutOfMemoryError("CUDA out of memory"), Status.OOM, "OutOfMemoryError: CUDA out of memory"),
        (MemoryError("no more"), Status.OOM, "MemoryError: no more"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
            Status.OOM,
            "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes",
        ),
        (KeyboardInterrupt(), Status.INTERRUPTED, "stopped by the user"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_a_failure_is_a_status_that_keeps_what_was_reached(error: BaseException, status: Status, reason: str, make_run):
    record, _ = carry_out(make_run(breaking(error)))
    assert (record.status, record.reason, record.failed_phase) == (status, reason, "adapt")
    assert [phase.name for phase in record.phases] == ["load", "adapt"]
    assert record.data is not None
    assert record.environment is not None
    assert (record.training, record.evaluation) == (None, None)
    if status is Status.INTERRUPTED:
        assert record.traceback is None
    else:
        assert "in adapt" in record.traceback
        assert record.traceback.rstrip().endswith(str(error))


@dataclass
class Wide(Lora):
    """LoRA on a model that has memory for few rows in evaluation."""

    name: str = "wide"
    most: int = 2

    def adapt(self, model: Any, context: Context) -> Any:
        def run_out(module: torch.nn.Module, _: Any, given: dict[str, Any]) -> None:
            if not module.training and len(given["input_ids"]) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        model.register_forward_pre_hook(run_out, with_kwargs=True)
        return super().adapt(model, context)


def test_an_evaluation_that_runs_out_of_memory_goes_on_with_half_the_batch(make_run):
    roomy, _ = carry_out(make_run(Wide(most=1000)))
    tight, _ = carry_out(make_run(Wide(most=2)))
    assert (tight.status, roomy.status) == (Status.OK, Status.OK)
    assert roomy.evaluation.halved == []
    said = tight.evaluation.halved
    assert said
    assert all(line.endswith("halved: CUDA out of memory. Tried to allocate 2.00 GiB.") for line in said)
    for split in ("validation", "test"):
        expected, found = getattr(roomy.evaluation, split), getattr(tight.evaluation, split)
        assert found.loss == pytest.approx(expected.loss, rel=1e-5)
        assert found.metrics["exact_match"] == expected.metrics["exact_match"]
    assert tight.evaluation.general_loss == pytest.approx(roomy.evaluation.general_loss, rel=1e-5)


def test_an_evaluation_without_room_for_a_single_row_is_out_of_memory(make_run):
    record, _ = carry_out(make_run(Wide(most=0), measure=Measure(warmup_steps=1, eval_batch_size=1)))
    assert (record.status, record.failed_phase) == (Status.OOM, "evaluate")
    assert record.training is not None


def test_a_divergence_keeps_its_steps(make_run):
    run = make_run(Lora(learning_rate=1e20), warmup=0.0)
    record, _ = carry_out(run)
    assert (record.status, record.failed_phase) == (Status.DIVERGED, "train")
    assert record.reason == "the loss became nan at step 2"
    assert record.traceback is None
    assert len(store.read_lines(folder_of(run) / store.STEPS)) == 2
    assert [phase.name for phase in record.phases] == ["load", "adapt", "train"]
    assert record.parameters.trainable == ADAPTER
    assert (record.training, record.evaluation, record.checkpoint_bytes) == (None, None, None)


def test_what_a_method_does_not_support_is_found_before_anything_is_loaded(make_run):
    record, events = carry_out(make_run(Prefix(), gradient_checkpointing=True))
    assert (record.status, record.failed_phase, record.traceback) == (Status.UNSUPPORTED, None, None)
    assert record.reason == "recomputed keys and values lack the prefix; use train.gradient_checkpointing=false"
    assert (record.phases, record.data, events) == ([], None, [])


def test_a_task_without_data_is_a_failure_with_its_reason(make_run):
    run = replace(make_run(Lora()), task=replace(TASK, source="nowhere"))
    record, _ = carry_out(run)
    assert record.status is Status.FAILED
    assert record.reason.startswith("ValueError: task.source: there is no 'nowhere'")


CHILD = """
import json, sys
from pathlib import Path
from bench.config import from_dict
from bench.worker import work

for line in sys.stdin:
    run = from_dict(json.loads(line))
    work(run, Path(run.results) / run.run_id(), lambda event: None)
"""


def in_fresh_process(runs: list[Run], results: Path) -> list[list[dict[str, Any]]]:
    """The steps of these runs, worked on by a new process one after the other."""
    for run in runs:
        (results / run.run_id()).mkdir(parents=True)
    runs = [replace(run, results=str(results)) for run in runs]
    lines = "\n".join(json.dumps(to_dict(run)) for run in runs)
    command = [sys.executable, "-c", CHILD]
    done = subprocess.run(command, cwd=ROOT, input=lines, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [store.read_lines(results / run.run_id() / store.STEPS) for run in runs]


@pytest.mark.slow
def test_two_processes_give_the_same_losses_to_the_last_bit_and_another_seed_gives_others(make_run, tmp_path: Path):
    quick = Measure(test=False, forgetting=False)
    runs = [make_run(method, seed, quick) for seed in (0, 1) for method in (Lora(dropout=0.1), Dpo())]
    lora, dpo, other_lora, other_dpo = in_fresh_process(runs, tmp_path / "once")
    again_dpo, again_lora = in_fresh_process(runs[1::-1], tmp_path / "again")

    def losses(steps: list[dict[str, Any]]) -> list[float]:
        assert len(steps) == 6
        return [step["loss"] for step in steps]

    assert losses(lora) == losses(again_lora)
    assert losses(dpo) == losses(again_dpo)
    assert losses(lora) != losses(other_lora)
    assert losses(dpo) != losses(other_dpo)

"""Several processes that train one run together, on a CPU with gloo: the same losses, one record, nobody left."""

import json
import os
import signal
from pathlib import Path

import pytest

from bench.config import Budget, Launch, Measure, Model, Run, Task, Train
from bench.launch import launch
from bench.launch.sweep import folder_of
from bench.method import get
from bench.records import store
from bench.records.schema import Status

TOLERANCE = 2e-4  # relative: the gradients are summed in another order, and Adam enlarges that in the first steps


@pytest.fixture
def train(tiny_llama, tmp_path, view, monkeypatch):
    """Runs a method for eight steps in some processes; returns its record and its steps."""
    monkeypatch.syspath_prepend(Path(__file__).parent)

    def start(method: str, processes: int, worker: str = "untouched", budget: Budget | None = None, **train):
        run = Run(
            get(method)(),
            model=Model(name="tiny", path=tiny_llama),
            task=Task(
                name="sums", source="arithmetic", kind="generation", train_examples=56, validation_examples=6,
                test_examples=4, max_length=64, max_new_tokens=2,
            ),
            budget=budget or Budget(name="eight", steps=8),
            train=Train(**({"batch_size": 8, "precision": "float32"} | train)),
            measure=Measure(warmup_steps=1, forgetting=False),
            launch=Launch(processes=processes, start="forkserver", predict=False),
            results=str(tmp_path),
        )  # fmt: skip
        records = launch([run], view, worker=f"fault_workers:{worker}", preload="bench.launch.preload")
        log = folder_of(run) / store.STEPS
        return records[-1], store.read_lines(log) if log.exists() else []

    return start


@pytest.mark.parametrize(
    "method", ["lora", "dpo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("full", "prompt", "kto"))]
)
def test_two_processes_have_the_losses_of_one_with_the_doubled_batch(train, method):
    one, alone = train(method, 1)
    two, together = train(method, 2)
    assert (one.status, two.status) == (Status.OK, Status.OK)
    assert [line["loss"] for line in together] == pytest.approx([line["loss"] for line in alone], rel=TOLERANCE)
    for key in ("examples", "tokens", "trained_tokens", "learning_rate"):
        assert [line[key] for line in together] == [line[key] for line in alone]
    assert (one.training.processes, one.training.micro_batch_size) == (1, 8)
    assert (two.training.processes, two.training.micro_batch_size, two.training.gradient_accumulation) == (2, 4, 1)
    assert two.environment.hardware == f"2x-{one.environment.hardware}"
    assert two.evaluation.validation.loss == pytest.approx(one.evaluation.validation.loss, rel=TOLERANCE)
    counted = [line["tokens"] / line["seconds"] for line in together[1:]]
    assert min(counted) <= two.training.tokens_per_s <= max(counted)  # the sum over both processes


def test_two_processes_with_accumulation_and_a_budget_in_seconds_end_together(train):
    record, lines = train("lora", 2, budget=Budget(name="s", seconds=0.5), gradient_accumulation=2)
    assert record.status is Status.OK
    assert record.training.gradient_accumulation == 2
    assert sum(line["seconds"] for line in lines) == pytest.approx(0.5, abs=0.3)
    assert record.training.steps == len(lines)


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("kill", Status.CRASHED, "process 1 of 2 was killed by SIGKILL (possibly out of memory)"),
        ("raise", Status.FAILED, "in another of 2 processes: RuntimeError: something is wrong here"),
    ],
)
def test_what_befalls_the_second_process_ends_the_run(train, tmp_path, view, fault, status, reason):
    base, _ = train("lora", 2)  # the hardware's folder
    (tmp_path / "runs" / base.environment.hardware / "fault.txt").write_text(fault)
    record, _ = train("prompt", 2, worker="second_process")
    assert record.status is status
    assert record.failed_phase in ("load", "adapt", "train")  # of the first process, which may be a little behind
    assert record.reason.splitlines()[0] == reason
    assert [phase.name for phase in record.phases][:1] in ([], ["load"])


def test_ctrl_c_reaches_both_processes_and_leaves_a_checkpoint(train, view):
    def press(event) -> None:
        plain(event)
        if event["event"] == "step" and event["step"] == 1:
            os.kill(os.getpid(), signal.SIGINT)

    plain, view.event = view.event, press
    settings = {"worker": "slow_steps", "budget": Budget(name="many", steps=60), "save_every": 50, "log_every": 30}
    record, lines = train("lora", 2, **settings)
    assert (record.status, record.reason) == (Status.INTERRUPTED, "stopped by Ctrl-C")
    assert 1 <= len(lines) < 25
    view.event, view.interrupted = plain, False
    record, again = train("lora", 2, **settings)
    assert (record.status, record.training.resumed_at) == (Status.OK, len(lines))
    assert [line["loss"] for line in again[: len(lines)]] == [line["loss"] for line in lines]


def test_the_batch_must_be_divisible():
    run = Run(
        get("lora")(),
        budget=Budget(steps=1),
        train=Train(batch_size=6, gradient_accumulation=2),
        launch=Launch(processes=2),
    )
    assert run.errors() == [
        "train.batch_size must be a multiple of launch.processes x train.gradient_accumulation, got 6 and 2 x 2"
    ]


FSDP = """\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
mixed_precision: bf16
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_reshard_after_forward: true
  fsdp_state_dict_type: FULL_STATE_DICT
num_processes: 8
"""
DEEPSPEED = """\
compute_environment: LOCAL_MACHINE
distributed_type: DEEPSPEED
deepspeed_config:
  zero_stage: 3
  offload_optimizer_device: cpu
num_processes: 8
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FSDP, {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_RESHARD_AFTER_FORWARD": "true"}),
        (DEEPSPEED, {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}),
    ],
    ids=["fsdp", "deepspeed"],
)
def test_the_settings_of_an_accelerate_file_reach_every_process(go, make_run, tmp_path, text, expected):
    (tmp_path / "sharded.yaml").write_text(text)
    run = make_run("lora", processes=2, accelerate=str(tmp_path / "sharded.yaml"))
    go([run], "tells_environment")
    for rank in (0, 1):
        found = json.loads((folder_of(run) / f"environment.{rank}.json").read_text())
        assert found["WORLD_SIZE"] == "2"
        assert {key: found.get(key) for key in expected} == expected
        assert "ACCELERATE_MIXED_PRECISION" not in found


def test_sharding_is_refused_without_gpus(train):
    record, _ = train("lora", 1, worker="sharded")
    assert (record.status, record.reason) == (
        Status.UNSUPPORTED, "accelerate shards models (FSDP, DeepSpeed) on GPUs alone",
    )  # fmt: skip

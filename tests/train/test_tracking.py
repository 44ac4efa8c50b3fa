"""Trackers: what TensorBoard is given is what steps.jsonl has, and that nothing is given to anybody by default."""

import importlib.util
from pathlib import Path

import pytest

from bench.config import Budget, Launch, Measure, Model, Run, Task, Train
from bench.method import get
from bench.records import store
from bench.records.schema import Status
from bench.worker import work


@pytest.fixture
def carry_out(tiny_llama, tmp_path):
    def start(tracker: str) -> tuple[Run, Path]:
        run = Run(
            get("lora")(),
            model=Model(name="tiny", path=tiny_llama),
            task=Task(
                name="sums", source="arithmetic", kind="generation", train_examples=16, validation_examples=3,
                test_examples=2, max_length=64, max_new_tokens=2,
            ),
            budget=Budget(name="six", steps=6),
            train=Train(batch_size=4, precision="float32", log_every=2),
            measure=Measure(warmup_steps=1, forgetting=False),
            launch=Launch(predict=False),
            tracker=tracker,
            results=str(tmp_path),
        )  # fmt: skip
        folder = store.run_folder(tmp_path, "cpu-test", f"{run.run_id()}-{tracker}")
        folder.mkdir(parents=True)
        assert work(run, folder, lambda event: None).status is Status.OK
        return run, folder

    return start


def test_tensorboard_shows_the_steps(carry_out, monkeypatch):
    monkeypatch.setattr("atexit._run_exitfuncs", lambda: None)  # those of the test run itself
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, folder = carry_out("tensorboard")
    shown = EventAccumulator(str(folder / "tensorboard"))
    shown.Reload()
    losses = [line["loss"] for line in store.read_lines(folder / store.STEPS)]
    told = {event.step: event.value for event in shown.Scalars("train/loss")}
    assert told == {
        1: pytest.approx(losses[0], abs=1e-4),
        2: pytest.approx(losses[1], abs=1e-4),
        4: pytest.approx(sum(losses[2:4]) / 2, abs=1e-4),
        6: pytest.approx(sum(losses[4:]) / 2, abs=1e-4),
    }
    assert all(event.value > 0 for event in shown.Scalars("train/tokens_per_s"))


def test_a_tracker_changes_no_loss_and_no_identity_and_none_is_the_default(carry_out, monkeypatch):
    monkeypatch.setattr("atexit._run_exitfuncs", lambda: None)
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")
    plain, without = carry_out("none")
    tracked, with_one = carry_out("tensorboard")
    assert plain.run_id() == tracked.run_id()
    assert Run(None).tracker == "none"
    assert not (without / "tensorboard").exists()
    first, second = (
        [line["loss"] for line in store.read_lines(folder / store.STEPS)] for folder in (without, with_one)
    )
    assert first == second


def test_a_tracker_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert Run(get("lora")(), budget=Budget(steps=1), tracker="mlflow").errors() == [
        "tracker=mlflow needs mlflow: pip install 'tunebench[mlflow]'"
    ]
    assert (
        "tracker must be one of none, tensorboard, mlflow, wandb, trackio, got 'tensorbord'"
        in Run(get("lora")(), budget=Budget(steps=1), tracker="tensorbord").errors()
    )

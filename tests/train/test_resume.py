"""Trainings that are interrupted: what a checkpoint holds, and that the rest comes out the same to the last bit."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.objective import of
from bench.records import store
from bench.train import checkpoints, loop
from methods.adalora import AdaLora
from methods.dpo import Dpo
from methods.full import Full
from methods.kto import Kto
from methods.layers import Lisa
from methods.lora import Lora
from methods.lorafa import LoraFA
from methods.orpo import Orpo
from methods.pissa import Pissa
from methods.prompt import Prompt
from methods.ptuning import PTuning

STEPS = 17  # of 24 rows in batches of 4: into the third epoch


@pytest.fixture
def train(adapted, make_run, examples, tmp_path):
    """Trains in a folder, from its checkpoint if it has one; `interrupt_after` presses Ctrl-C in that step."""

    def start(method, folder: str, interrupt_after: int | None = None, seed: int = 0, **settings: Any):
        run = make_run(method, steps=STEPS, seed=seed, **settings)
        (tmp_path / folder).mkdir(exist_ok=True)
        _, tokenizer = adapted("llama", None)
        torch.manual_seed(seed)
        model, _ = adapted("llama", method, noise=0.0)
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += model.training
            if calls == interrupt_after:
                os.kill(os.getpid(), signal.SIGINT)

        model.register_forward_pre_hook(count)
        rows = loop.rows(run, examples, tokenizer)
        torch.manual_seed(seed)
        return loop.train(run, model, tokenizer, rows, "float32", "cpu", tmp_path / folder, lambda event: None), model

    return start


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in store.read_lines(folder / store.STEPS)]


def _weights(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    "method",
    [
        Lora(dropout=0.1),
        LoraFA(),
        AdaLora(),
        Pissa(),
        Full(),
        Prompt(),
        PTuning(),
        Dpo(),
        Kto(),
        Orpo(),
        Lisa(layers=1, interval=2),
    ],
    ids=lambda method: method.name,
)
@pytest.mark.parametrize("accumulation", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_an_interrupted_training_goes_on_to_the_same_losses_bit_for_bit(train, tmp_path, method, accumulation):
    settings = {"save_every": 3, "schedule": "cosine", "gradient_accumulation": accumulation}
    # in a step; the reference is asked too, and both about the answers to other prompts
    forwards = accumulation * (1 + of(method).reference) * (1 + of(method).mismatched)
    _, whole = train(method, "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        train(method, "parts", interrupt_after=5 * forwards, **settings)
    assert [line["step"] for line in _lines(tmp_path / "parts")] == [1, 2, 3, 4, 5]  # the step at work was finished
    assert checkpoints.newest(tmp_path / "parts" / store.CHECKPOINTS, STEPS).name == "checkpoint-5"
    with pytest.raises(KeyboardInterrupt):
        train(method, "parts", interrupt_after=3 * forwards, **settings)
    training, resumed = train(method, "parts", **settings)
    assert training.resumed_at == 8
    assert training.steps == STEPS
    assert _lines(tmp_path / "parts") == _lines(tmp_path / "whole")
    assert _weights(resumed).keys() == _weights(whole).keys()
    assert all(torch.equal(value, _weights(whole)[name]) for name, value in _weights(resumed).items())


def test_without_save_every_an_interrupted_training_starts_anew(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(Lora(), "a", interrupt_after=5)
    assert len(_lines(tmp_path / "a")) == 5
    assert not (tmp_path / "a" / store.CHECKPOINTS).exists()
    training, _ = train(Lora(), "a")
    assert (training.resumed_at, training.steps, len(_lines(tmp_path / "a"))) == (None, STEPS, STEPS)


def test_the_newest_two_checkpoints_are_kept_whatever_their_times(train, tmp_path, monkeypatch):
    touch = Path.touch

    def long_ago(path: Path, *args: Any) -> None:
        touch(path, *args)
        age = 1e9 - 1000 * checkpoints.number(path.parent)  # the clock goes backwards
        os.utime(path, (age, age))
        os.utime(path.parent, (age, age))

    monkeypatch.setattr(Path, "touch", long_ago)
    train(Lora(), "a", save_every=3)
    assert sorted(path.name for path in (tmp_path / "a" / store.CHECKPOINTS).iterdir()) == [
        "checkpoint-12", "checkpoint-15",
    ]  # fmt: skip


def test_a_checkpoint_that_is_not_whole_does_not_count(train, tmp_path):
    train(Lora(), "a", save_every=3)
    folder = tmp_path / "a" / store.CHECKPOINTS
    (folder / "checkpoint-15" / checkpoints.MARK).unlink()
    assert checkpoints.newest(folder, STEPS).name == "checkpoint-12"


def test_a_checkpoint_that_cannot_be_read_is_tried_once(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(Lora(), "a", interrupt_after=7, save_every=3)
    folder = tmp_path / "a" / store.CHECKPOINTS
    (folder / "checkpoint-7" / "trained.safetensors").write_bytes(b"torn")
    with pytest.raises(Exception, match="header"):
        train(Lora(), "a", save_every=3)
    training, _ = train(Lora(), "a", save_every=3)
    assert training.resumed_at == 6


def test_a_torn_line_of_the_steps_costs_the_steps_after_the_checkpoint_alone(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(Lora(), "a", interrupt_after=7, save_every=3)
    log = tmp_path / "a" / store.STEPS
    log.write_bytes(log.read_bytes() + b'{"step": 8, "lo')
    training, _ = train(Lora(), "a", save_every=3)
    assert training.resumed_at == 7
    assert [line["step"] for line in _lines(tmp_path / "a")] == list(range(1, STEPS + 1))


def test_a_checkpoint_without_the_steps_before_it_is_not_used(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(Lora(), "a", interrupt_after=7, save_every=3)
    log = tmp_path / "a" / store.STEPS
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:6]))  # what a power failure may leave
    training, _ = train(Lora(), "a", save_every=3)
    assert training.resumed_at == 6
    assert [line["step"] for line in _lines(tmp_path / "a")] == list(range(1, STEPS + 1))


def test_a_checkpoint_holds_what_trains_and_no_more(train, tmp_path):
    train(Prompt(), "a", save_every=15)
    (folder,) = (tmp_path / "a" / store.CHECKPOINTS).iterdir()
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "trained.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", checkpoints.MARK,
    }  # fmt: skip
    assert (folder / "trained.safetensors").stat().st_size < 50_000


def test_saving_changes_no_loss_and_no_identity(train, tmp_path, make_run):
    train(Lora(), "saved", save_every=2)
    train(Lora(), "unsaved")
    assert _lines(tmp_path / "saved") == _lines(tmp_path / "unsaved")
    run = make_run(Lora())
    assert replace(run, train=replace(run.train, save_every=7, auto_batch=True)).run_id() == run.run_id()

"""Methods of LoRA's family that take a part in the training: a schedule, an optimizer of their own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.config import Model
from bench.method import Context, Method
from bench.models import checkpoint
from bench.models.load import info, load
from bench.models.tiny import TEXT
from bench.records.schema import Training
from bench.train import loop
from methods.adalora import AdaLora
from methods.lorafa import LoraFA

LAYERS = 14


@pytest.fixture
def train(tiny_llama: str, make_run: Callable[..., Any], examples: Any, tmp_path: Path) -> Callable[..., Any]:
    """Trains a method that is told of the number of steps; returns the measured training and the model."""
    model = Model(name="tiny", path=tiny_llama)

    def start(method: Method, **settings: Any) -> tuple[Training, Any]:
        run = make_run(method, **settings)
        base, tokenizer = load(model, "cpu", None, torch.float32)
        torch.manual_seed(0)
        adapted = method.adapt(base, Context(info(model, "cpu"), tokenizer, TEXT[0], steps=run.budget.steps or None))
        rows = loop.rows(run, examples, tokenizer)
        return loop.train(run, adapted, tokenizer, rows, "float32", "cpu", tmp_path, lambda event: None), adapted

    return start


def kept(model: Any) -> int:
    """Singular values that are not pruned."""
    return sum(int((p != 0).sum()) for name, p in model.named_parameters() if ".lora_E." in name)


def test_adalora_prunes_to_its_budget_and_reloads(train, tiny_llama: str, tmp_path: Path):
    method = AdaLora(rank=2, initial_rank=4)
    _, model = train(method, steps=20)
    assert kept(model) == 2 * LAYERS
    checkpoint.save(model, tmp_path / "saved")
    settings = Model(name="tiny", path=tiny_llama)
    base, tokenizer = load(settings, "cpu", None, torch.float32)
    again = checkpoint.reload(base, tmp_path / "saved", method, Context(info(settings, "cpu"), tokenizer, "")).eval()
    assert sum(p.numel() for name, p in again.named_parameters() if ".lora_E." in name) == 2 * LAYERS
    ids = torch.arange(2, 26).reshape(2, 12)
    with torch.no_grad():
        torch.testing.assert_close(again(input_ids=ids).logits, model.eval()(input_ids=ids).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("steps", "pruned"), [(1, False), (2, True), (3, True)])
def test_adalora_s_schedule_fits_into_the_shortest_trainings(train, steps: int, pruned: bool):
    _, model = train(AdaLora(rank=2, initial_rank=4), steps=steps)
    assert (kept(model) == 2 * LAYERS) is pruned


def test_adalora_prunes_to_its_budget_by_the_clock(train):
    training, model = train(AdaLora(rank=2, initial_rank=4), seconds=0.5)
    assert training.steps > 3
    assert kept(model) == 2 * LAYERS


def test_adalora_s_last_pruning_comes_once_however_the_clock_jumps(tiny_llama: str):
    base, tokenizer = load(Model(name="tiny", path=tiny_llama), "cpu", None, torch.float32)
    method = AdaLora(rank=2, initial_rank=4)
    model: Any = method.adapt(base, Context(info(Model(name="tiny", path=tiny_llama), "cpu"), tokenizer, TEXT[0]))
    for name, values in model.named_parameters():
        if ".lora_E." in name:
            torch.nn.init.normal_(values)
    ids = torch.arange(2, 26).reshape(2, 12)
    counts = []
    for step, progress in enumerate((0.0, 0.05, 0.9, 0.95, 1.0), 1):
        model(input_ids=ids, labels=ids).loss.backward()
        method.after_step(model, step, progress)
        counts.append(kept(model))
    assert counts == [4 * LAYERS] * 2 + [2 * LAYERS] * 3


def test_lora_fa_keeps_the_inner_matrices(train):
    def matrices(model: Any, which: str) -> list[torch.Tensor]:
        return [p.detach().clone() for name, p in model.named_parameters() if f".lora_{which}." in name]

    method = LoraFA()
    _, before = train(replace(method, learning_rate=1e-12), steps=1)
    training, model = train(method, steps=4)
    assert training.optimizer == "LoraFAOptimizer"
    assert all(map(torch.equal, matrices(model, "A"), matrices(before, "A")))
    assert all((outer != 0).any() for outer in matrices(model, "B"))
    with model.disable_adapter():
        pass
    assert not any(p.requires_grad for name, p in model.named_parameters() if ".lora_A." in name)


def test_lora_fa_follows_the_corrected_gradient(train):
    """The first step of AdamW moves by the learning rate against the sign of the gradient times (A A^T)^-1."""
    method = LoraFA(learning_rate=1e-3)
    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def note(model: Any, step: int, progress: float) -> None:
        layer = model.base_model.model.model.layers[0].mlp.up_proj
        outer = layer.lora_B["default"].weight
        seen.append((layer.lora_A["default"].weight, outer.grad.clone(), outer.detach().clone()))

    method.after_step = note  # type: ignore[method-assign]
    train(method, steps=1)
    ((inner, gradient, outer),) = seen
    corrected = gradient @ torch.linalg.inv(inner @ inner.T)
    large = corrected.abs() > 0.05 * corrected.abs().max()
    assert torch.equal(outer.sign()[large], -corrected.sign()[large])
    torch.testing.assert_close(outer[large].abs(), torch.full_like(outer[large], 1e-3), atol=2e-4, rtol=0)

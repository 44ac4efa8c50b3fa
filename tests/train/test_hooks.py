"""What a method may add to the common loop: an optimizer, an act after each step, a penalty."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from methods.lora import Lora


@dataclass
class Plain(Lora):
    """LoRA trained by plain gradient descent."""

    def optimizer(self, model, groups, defaults):
        self.seen = (groups, defaults)
        return torch.optim.SGD([{"params": g["params"]} for g in groups], lr=defaults["lr"])


@dataclass
class Watching(Lora):
    """LoRA that notes its steps."""

    def __post_init__(self):
        self.steps: list[Any] = []

    def after_step(self, model, step, progress):
        gradient = next(p.grad for n, p in model.named_parameters() if "lora_B" in n)
        self.steps.append((step, progress, gradient.norm().item() > 0))


@dataclass
class Shrinking(Lora):
    """LoRA with half the sum of its squared weights as a penalty."""

    strength: float = 1.0

    def penalty(self, model):
        return 0.5 * self.strength * sum(p.square().sum() for p in model.parameters() if p.requires_grad)


def test_the_methods_own_optimizer_trains_and_is_named(fit):
    method = Plain(learning_rate=0.5)
    fitted = fit(method, steps=6)
    groups, defaults = method.seen
    assert defaults == {"lr": 0.5, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    assert {id(p) for p in groups[0]["params"]} == {id(p) for p in fitted.model.parameters() if p.requires_grad}
    assert fitted.training.optimizer == "SGD"
    assert fitted.losses != fit(Lora(learning_rate=0.5), steps=6).losses
    assert fit(Lora()).training.optimizer == "adamw_torch_fused"


@pytest.mark.parametrize("limit", [{"steps": 3}, {"epochs": 0.5}])
def test_it_is_called_after_each_step_with_the_gradients(fit, limit):
    method = Watching()
    fit(method, gradient_accumulation=2, **limit)
    assert method.steps == [(i, i / 3, True) for i in (1, 2, 3)]


def test_in_a_budget_of_seconds_it_is_told_the_share_that_is_spent(fit):
    method = Watching()
    fitted = fit(method, seconds=0.2)
    numbers, shares, graded = zip(*method.steps, strict=True)
    assert numbers == tuple(range(1, fitted.training.steps + 1))
    assert shares[0] == 0
    assert list(shares) == sorted(set(shares))
    assert shares[-1] < 1
    assert all(graded)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_penalty_is_differentiated_once_a_step_and_not_reported(fit, accumulation, monkeypatch):
    gradients: list[torch.Tensor] = []
    kept = {"max_grad_norm": 1e9, "steps": 1, "batch_size": 4, "gradient_accumulation": accumulation}

    def keep(self, model, step, progress):
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad]))

    monkeypatch.setattr(Lora, "after_step", keep)
    weights: list[torch.Tensor] = []

    def note(model):
        weights.append(torch.cat([p.detach().clone().flatten() for p in model.parameters() if p.requires_grad]))

    without, with_penalty = fit(Lora(), **kept), fit(Shrinking(strength=0.1), prepare=note, **kept)
    assert with_penalty.losses == without.losses
    torch.testing.assert_close(gradients[1] - gradients[0], 0.1 * weights[0], atol=1e-6, rtol=1e-4)
    assert weights[0].abs().max() > 0

"""LISA draws its layers anew every few steps, and drops the optimizer's state of those whose turn is over."""

from dataclasses import dataclass, field
from typing import Any

import torch

from methods._blocks import blocks
from methods.layers import Lisa

STEPS = 8


@dataclass
class Watched(Lisa):
    """LISA that notes after every step which layers had gradients, and what the optimizer knows."""

    seen: list[Any] = field(default_factory=list)

    def optimizer(self, model, groups, defaults):
        self.made = super().optimizer(model, groups, defaults)
        return self.made

    def after_step(self, model, step, progress):
        trained = [i for i, layer in enumerate(blocks(model)) if any(p.grad is not None for p in layer.parameters())]
        outside = {id(p) for layer in blocks(model) for p in layer.parameters()}
        rest = [p for p in model.parameters() if id(p) not in outside]
        known = sum(p.numel() for p in self.made.state)
        self.seen.append((trained, all(p.grad is not None for p in rest), known))
        super().after_step(model, step, progress)


def run(fit, **settings: Any) -> Watched:
    method = Watched(layers=1, interval=2)
    fit(method, steps=STEPS, **settings)
    return method


def test_one_layer_trains_for_two_steps_and_all_else_always(fit):
    seen = run(fit).seen
    trained = [layers for layers, _, _ in seen]
    assert all(len(layers) == 1 for layers in trained)
    assert [trained[i] == trained[i + 1] for i in range(0, STEPS, 2)] == [True] * 4
    assert {layer for layers in trained for layer in layers} == {0, 1}
    assert all(outside for _, outside, _ in seen)


def test_the_state_is_that_of_what_trains(fit):
    method = Watched(layers=1, interval=2)
    fitted = fit(method, steps=STEPS)
    layer = sum(p.numel() for p in blocks(fitted.model)[0].parameters())
    total = sum(p.numel() for p in fitted.model.parameters())
    assert {known for _, _, known in method.seen} == {total - layer}


def test_the_draw_is_the_seed_s(fit):
    assert run(fit).seen == run(fit).seen
    others = [run(fit, seed=seed).seen for seed in (1, 2, 3)]
    assert any(each != run(fit).seen for each in others)


def test_micro_batches_of_a_step_have_the_same_layers(fit):
    assert run(fit, gradient_accumulation=2).seen == run(fit).seen


def test_outside_of_a_step_every_weight_counts_as_trained(fit):
    fitted = fit(Lisa(layers=1, interval=1), steps=3)
    assert all(p.requires_grad for p in fitted.model.parameters())
    assert fitted.training.optimizer == "AdamW"
    with torch.no_grad():
        fitted.model.eval()(input_ids=torch.arange(8)[None])
    assert all(p.requires_grad for p in fitted.model.parameters())

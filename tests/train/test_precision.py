"""Training in bfloat16 learns what training in float32 does, on weights that are not those of an earlier step."""

import pytest
import torch

from methods.dpo import Dpo
from methods.full import Full
from methods.lora import Lora
from methods.prompt import Prompt


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation": 2}, {"gradient_checkpointing": True}], ids=str)
@pytest.mark.parametrize("method", [Full(learning_rate=0.003), Lora(learning_rate=0.01)], ids=["full", "lora"])
def test_bfloat16_learns_as_float32_does(method, settings, fit):
    high, low = (fit(method, steps=12, precision=p, **settings).losses for p in ("float32", "bfloat16"))
    assert high[-1] < 0.9 * high[0]
    assert low == pytest.approx(high, rel=0.03)


@pytest.mark.parametrize("method", [Dpo(), Full(), Lora(), Prompt()], ids=lambda method: method.name)
def test_every_step_casts_the_weights_that_it_has(method, fit, monkeypatch):
    """Autocast keeps what it has cast until its outermost block ends; that must be within the step."""
    enabled = []
    step = torch.optim.AdamW.step

    def watched(self, *args, **kwargs):
        enabled.append(torch.is_autocast_enabled("cpu"))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    fit(method, precision="bfloat16", reference=method.name == "dpo")
    assert enabled == [False] * 5

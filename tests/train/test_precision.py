"""Training in bfloat16 learns what training in float32 does, on weights that are not those of an earlier step."""

import pytest
import torch

from bench.train import preferences, trainers
from bench.train.precision import compute_precision
from methods.dpo import Dpo
from methods.full import Full
from methods.lora import Lora
from methods.prompt import Prompt


@pytest.mark.parametrize(("amx", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_a_cpu_computes_in_bfloat16_only_where_that_is_faster(amx, precision, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert compute_precision("auto", "cpu") == precision
    assert [compute_precision(asked, "cpu") for asked in ("float32", "bfloat16")] == ["float32", "bfloat16"]


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation": 2}, {"gradient_checkpointing": True}], ids=str)
@pytest.mark.parametrize("method", [Full(learning_rate=0.003), Lora(learning_rate=0.01)], ids=["full", "lora"])
def test_bfloat16_learns_as_float32_does(method, settings, fit):
    high, low = (fit(method, steps=12, precision=p, **settings).losses for p in ("float32", "bfloat16"))
    assert high[-1] < 0.9 * high[0]
    assert low == pytest.approx(high, rel=0.03)


@pytest.mark.parametrize("method", [Dpo(), Full(), Lora(), Prompt()], ids=lambda method: method.name)
def test_autocast_is_on_for_the_loss_and_nowhere_else(method, fit, monkeypatch):
    """Not even a block of it that is not enabled: what autocast has cast is kept until the outermost one ends."""
    seen = []

    def watched(name, function):
        def call(*args, **kwargs):
            depth = torch.autocast_increment_nesting() - 1
            torch.autocast_decrement_nesting()
            seen.append((name, torch.is_autocast_enabled("cpu"), depth))
            return function(*args, **kwargs)

        return call

    where, loss = (preferences, "completion_log_probs") if method.name == "dpo" else (trainers, "label_log_probs")
    monkeypatch.setattr(where, loss, watched("loss", getattr(where, loss)))
    monkeypatch.setattr(torch.optim.AdamW, "step", watched("step", torch.optim.AdamW.step))
    fit(method, precision="bfloat16", reference=method.name == "dpo")
    assert seen == [("loss", True, 1), ("step", False, 0)] * 5

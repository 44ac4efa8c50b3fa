"""The closed form: what it counts exactly, and what it says where no trace can be made."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bench.advise.allocator import CUBLAS_WORKSPACE
from bench.advise.closed_form import FITTED, PACKED, STATES, closed_form, terms, weights
from bench.advise.predict import prediction
from bench.advise.questions import question
from bench.advise.sizes import architecture
from bench.advise.trace import NotTraceable, Question, TracingFailed, Workload
from bench.config import Model, Run, Train, to_dict
from bench.method import get

BATCHES = Workload(rows=4, mean_tokens=50, longest_tokens=100, labelled=0.25)
FACTS = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 160, "vocab_size": 1000,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
LINEAR, EMBEDDED = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 160), 64 * 1000


def ask(method: str, path: str = "", device: str = "cuda", **train: Any) -> Question:
    model = Model("m", path or "m", architecture={} if path else FACTS)
    return question(to_dict(Run(get(method)(), model=model, train=Train(**train))), BATCHES, device, "bfloat16")


def test_the_weights_of_a_published_model_are_counted() -> None:
    facts = architecture("meta-llama/Llama-3.2-3B")
    linear, embedded, inner = weights(facts, 3072, 28, 128256)
    assert linear + embedded == pytest.approx(3212749824, rel=1e-4)  # as published; the norms are not counted
    assert inner == 8192
    ungated, _, wide = weights({"model_type": "gpt2", "n_head": 12}, 768, 12, 50257)
    assert (ungated, wide) == (12 * 12 * 768**2, 4 * 768)


@pytest.mark.parametrize(
    ("method", "kind", "stored"),
    [
        ("lora", "kept", 2 * (LINEAR + EMBEDDED)),
        ("qlora", "kept", PACKED[4] * LINEAR + 2 * EMBEDDED),
        ("full", "kept", STATES * (LINEAR + EMBEDDED)),
    ],
)
def test_what_is_stored_is_counted(method: str, kind: str, stored: float) -> None:
    found = terms(ask(method))
    assert found is not None
    assert (found.kind, found.known) == (kind, CUBLAS_WORKSPACE + stored)
    assert found.features == (
        400 * 2 * 64, 400 * 160 * 2, 100 * 1000, 400 * 64, LINEAR if method == "full" else 0,
    )  # fmt: skip


def test_pairs_have_two_rows_and_recomputed_layers_one_width_at_a_time() -> None:
    pairs, again = terms(ask("dpo")), terms(ask("lora", gradient_checkpointing=True))
    full = terms(ask("lora", loss="full"))
    assert pairs is not None
    assert again is not None
    assert full is not None
    assert pairs.features == (800 * 2 * 64, 800 * 160 * 2, 200 * 1000, 800 * 64, 0)
    assert again.kind == "recomputed"
    assert again.features[1] == 400 * 160
    assert full.features[2] == 400 * 1000


def test_it_grows_with_tokens_and_says_how_far_it_may_be_off() -> None:
    fitted = json.loads(FITTED.read_text(encoding="utf-8"))["kinds"]
    assert fitted.keys() == {"kept", "recomputed"}
    small, large = closed_form(ask("lora")), closed_form(replace(ask("lora"), workload=replace(BATCHES, rows=8)))
    assert small is not None
    assert large is not None
    assert small.low < small.value < small.high
    assert large.value > small.value > 2 * (LINEAR + EMBEDDED)


def test_it_says_nothing_of_what_it_does_not_know() -> None:
    assert closed_form(ask("lora", device="cpu")) is None
    assert closed_form(ask("lora", path="nobody/knows-it")) is None
    imported = ask("lora")
    assert closed_form(replace(imported, run=imported.run | {"loop": "another"})) is None
    assert closed_form(replace(imported, run=imported.run | {"method": {"name": "of-a-plugin"}})) is None


def test_where_nothing_can_be_traced_the_prediction_is_labelled() -> None:
    found = prediction(ask("lora"), NotTraceable("its shapes depend on data"))
    expected = closed_form(ask("lora"))
    assert expected is not None
    assert (found.evidence, found.reason) == ("closed form", "its shapes depend on data")
    assert found.allocated_bytes is not None
    assert found.allocated_bytes.value == round(expected.value)
    assert (found.reserved_bytes, found.step_s) == (None, None)
    failed = prediction(ask("lora"), TracingFailed("tracing failed: no kernel"))
    assert (failed.evidence, failed.reason) == ("closed form", "tracing failed: no kernel")

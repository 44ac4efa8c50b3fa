"""The formulas of others, by hand and against the figures that they give of two published runs."""

from dataclasses import replace

import pytest

from bench.advise.baselines import (
    BASELINES,
    Facts,
    accelerate,
    hugging_face,
    korthikanti,
    llama_factory,
    weights,
    zero_states,
)
from bench.advise.sizes import sizes

SMALL = Facts(
    parameters=1000, trainable=100, full=False, weight_bytes=2, trainable_bytes=4, compute_bytes=2, rows=2, tokens=5,
    layers=3, hidden=8, vocabulary=16,
)  # fmt: skip
FULL = replace(SMALL, trainable=1000, full=True, trainable_bytes=2)


def test_by_hand() -> None:
    assert weights(SMALL) == 2000
    assert weights(replace(SMALL, weight_bytes=0.5)) == 500
    assert accelerate(SMALL) is None
    assert accelerate(FULL) == 8000
    assert accelerate(replace(FULL, compute_bytes=4)) == 16000
    assert zero_states(SMALL) == zero_states(FULL) == 16000


@pytest.mark.parametrize(
    ("facts", "each"),
    [
        (FULL, 8), (replace(FULL, trainable_bytes=4), 18), (SMALL, 2), (replace(SMALL, weight_bytes=4), 2),
        (replace(SMALL, weight_bytes=1), 1), (replace(SMALL, weight_bytes=0.5), 0.5),
    ],
)  # fmt: skip
def test_the_rows_of_the_table(facts: Facts, each: float) -> None:
    assert llama_factory(facts) == 1000 * each


def test_activations_by_hand() -> None:
    cells = 2 * 5 * 8
    states = 2000 + 100 * 12
    assert korthikanti(SMALL) == states + 34 * cells * 3 + 4 * cells * (1 + 2)
    assert korthikanti(replace(SMALL, checkpointing=True)) == states + 2 * cells * 3 + 4 * cells * (1 + 2)
    assert korthikanti(replace(SMALL, compute_bytes=4)) == states + 68 * cells * 3 + 4 * cells * (1 + 2)
    assert hugging_face(SMALL) == pytest.approx(2000 + 800 + (4.6894e-4 * 1000 + 1.8494e6) * 2 * 5 * 2)
    assert hugging_face(replace(FULL, rows=0)) == 2000 + 4000 + 2000


def test_of_two_published_runs_they_say_what_is_said_of_them() -> None:
    """Full fine-tuning and LoRA of rank 32 of Llama-3.2-3B, measured at 38.87 and 22.29 GB reserved."""
    shape = sizes({"path": "meta-llama/Llama-3.2-3B"})
    assert shape == {"hidden": 3072, "layers": 28, "vocabulary": 128256}
    full = Facts(3212749824, 3212749824, True, 2, 2, 2, rows=4, tokens=704, **shape)
    lora = replace(full, trainable=9175040, full=False, trainable_bytes=4)
    found = {
        name: [given and round(100 * (given / measured - 1)) for given, measured in (
            (formula(full), 38868615168), (formula(lora), 22292725760),
        )]
        for name, formula in BASELINES.items()
    }  # fmt: skip
    assert found == {
        "weights alone": [-83, -71],
        "accelerate estimate-memory": [-34, None],
        "LLaMA-Factory's table": [-34, -71],
        "ZeRO states (DeepSpeed)": [32, 131],
        "Korthikanti + logits": [-9, -27],
        "Hugging Face regression": [-2, 14],
    }

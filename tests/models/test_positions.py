"""How many tokens a model has places for, told from its configuration and tried on the model itself."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig

from bench.config import Model
from bench.models import kinds
from bench.models.config import plan, positions
from bench.models.families import FAMILIES

PLACES = 40
_SIZES = {"vocab_size": 64, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_PLAIN = {**_SIZES, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
_WIDE = {"max_position_embeddings": PLACES}
_GPT = {**_SIZES, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": PLACES}
_BART = {
    **_SIZES, **_WIDE, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
}  # fmt: skip
ENDING: dict[str, tuple[dict[str, Any], int]] = {
    "gpt2": (_GPT, PLACES),
    "gpt_bigcode": (_GPT, PLACES),
    "openai-gpt": (_GPT, PLACES),
    "gptj": (_GPT | {"rotary_dim": 8}, PLACES),
    "opt": (_PLAIN | _WIDE | {"ffn_dim": 32, "word_embed_proj_dim": 32}, PLACES),
    "biogpt": (_PLAIN | _WIDE, PLACES),
    "bart": (_BART, PLACES),
    "bert": (_PLAIN | _WIDE, PLACES),
    "roberta": (_PLAIN | _WIDE, PLACES - 2),
    "mpnet": (_PLAIN | _WIDE, PLACES - 2),
}


@pytest.mark.parametrize("name", ENDING)
@torch.no_grad()
def test_a_model_reads_as_many_tokens_as_it_has_places_and_no_more(name: str):
    facts, expected = ENDING[name]
    settings = Model(name="m", weights="random", architecture={"model_type": name} | facts, attention="eager")
    planned = plan(settings, facts=True, labels=("no", "yes"))
    assert positions(planned.config) == expected
    model = kinds.build(planned, torch.float32).eval()
    model(input_ids=torch.full((1, expected), 5))
    with pytest.raises((IndexError, RuntimeError), match=r"index out of range|out of bounds|must match|expanded size"):
        model(input_ids=torch.full((1, expected + 1), 5))


@pytest.mark.parametrize(
    "family", [name for name in FAMILIES if not name.startswith(("gpt2", "gptj", "opt", "bert", "ro"))]
)
def test_rotary_relative_and_recurrent_models_have_no_end_of_places(family: str):
    assert positions(AutoConfig.for_model(**FAMILIES[family].facts)) == 0


def test_the_same_architecture_may_have_places_or_not():
    assert positions(AutoConfig.for_model("deberta-v2")) == 512
    assert positions(AutoConfig.for_model("deberta-v2", position_biased_input=False)) == 0
    assert positions(AutoConfig.for_model("esm", pad_token_id=1)) == 1024
    assert positions(AutoConfig.for_model("esm", pad_token_id=1, position_embedding_type="rotary")) == 0

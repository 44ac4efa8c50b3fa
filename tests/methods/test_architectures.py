"""Architectures whose configuration says less than peft expects: shared keys and values, or no attention at all."""

import pytest
import torch
from transformers import (
    FalconConfig,
    FalconForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
    RwkvConfig,
    RwkvForCausalLM,
)

from bench.config import Model
from bench.method import Context, Method, ModelInfo
from bench.models.load import load
from methods.lora import Lora
from methods.prefix import Prefix
from methods.prompt import Prompt
from methods.ptuning import PTuning

SIZE = {"vocab_size": 320, "hidden_size": 64, "num_hidden_layers": 2}


def falcon(**settings: object) -> PreTrainedModel:
    return FalconForCausalLM(FalconConfig(**SIZE, num_attention_heads=4, alibi=False, **settings))


def mamba() -> PreTrainedModel:
    return MambaForCausalLM(MambaConfig(**SIZE, state_size=8))


def rwkv() -> PreTrainedModel:
    return RwkvForCausalLM(RwkvConfig(**SIZE, attention_hidden_size=64, intermediate_size=128))


CASES = {
    "prefix-falcon-mqa": (Prefix(), falcon),
    "prefix-falcon-gqa": (Prefix(), lambda: falcon(new_decoder_architecture=True, num_kv_heads=2)),
    "prompt-mamba": (Prompt(), mamba),
    "ptuning-mamba": (PTuning(), mamba),
    "prompt-rwkv": (Prompt(), rwkv),
    "ptuning-rwkv": (PTuning(), rwkv),
    "lora-rwkv": (Lora(), rwkv),
}


@pytest.mark.parametrize("case", CASES)
def test_every_trained_parameter_gets_a_gradient(case: str, tiny_llama: str):
    method, build = CASES[case]
    _, tokenizer = load(Model(name="tiny", path=tiny_llama), "cpu", None, torch.float32)
    torch.manual_seed(0)
    base = build().requires_grad_(False)
    assert _supported(method, base)
    context = Context(_info(base), tokenizer, "Which module does this docstring belong to?")
    model = method.adapt(base, context).train()
    ids = torch.arange(40, 60).reshape(2, 10)
    loss = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float().log_softmax(-1)[..., 0].sum()
    loss.backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert all("lora_A" in name for name in without)  # lora_B is zero at the start, and with it the gradient of lora_A


def _info(model: PreTrainedModel) -> ModelInfo:
    return ModelInfo("m", model.config.model_type, 64, 2, 320, gradient_checkpointing=False, device="cpu")


def _supported(method: Method, model: PreTrainedModel) -> bool:
    return method.supports(_info(model)) is None

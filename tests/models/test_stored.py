"""Checkpoints that are quantised already are loaded as they are, or refused in words."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import bitsandbytes as bnb
import pytest
import torch

from bench.config import Model, Run
from bench.limits import stored_otherwise
from bench.method import Context, Quantization
from bench.models.load import info, load, parameters
from methods.full import Full
from methods.lora import Lora
from methods.qlora import Qlora

F32 = torch.float32


@pytest.fixture
def four_bits(tiny_llama: str, tmp_path: Path) -> Model:
    """A checkpoint in 4 bits, as bitsandbytes saves it."""
    model, tokenizer = load(Model(name="tiny", path=tiny_llama), "cpu", Quantization(), F32)
    model.save_pretrained(tmp_path / "q")
    tokenizer.save_pretrained(tmp_path / "q")
    return Model(name="q", path=str(tmp_path / "q"))


def test_it_is_loaded_as_it_is_and_trains(four_bits: Model, tiny_llama: str):
    loaded, tokenizer = load(four_bits, "cpu", None, F32)
    layers = [module for module in loaded.modules() if isinstance(module, bnb.nn.Linear4bit)]
    assert len(layers) == 14
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
    whole, _ = load(Model(name="tiny", path=tiny_llama), "cpu", Quantization(), F32)
    assert parameters(loaded) == parameters(whole)
    ids = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(input_ids=ids).logits, whole.eval()(input_ids=ids).logits)
    adapted = Lora().adapt(loaded, Context(info(four_bits, "cpu"), tokenizer, ""))
    adapted(input_ids=ids).logits.square().mean().backward()
    outer = [p for name, p in adapted.named_parameters() if "lora_B" in name]
    assert all(p.grad.abs().max() > 0 for p in outer)


def test_methods_that_would_store_it_otherwise_are_told_before_it_is_loaded(four_bits: Model):
    told = info(four_bits, "cpu")
    assert told.quantised == "bitsandbytes"
    assert info(replace(four_bits, weights="random"), "cpu").quantised == ""
    words = "the weights of q are quantised already (bitsandbytes), and method="
    assert stored_otherwise(Run(Full()), told) == f"{words}full trains them"
    again = stored_otherwise(Run(Qlora()), told)
    assert again == f"{words}qlora would quantise them; use the method on weights as they are"
    assert stored_otherwise(Run(Lora()), told) is None
    assert stored_otherwise(Run(None), told) is None
    with pytest.raises(
        ValueError, match=r"^model\.path: .* are quantised already \(bitsandbytes\), and cannot be again$"
    ):
        load(four_bits, "cpu", Quantization(), F32)


@pytest.mark.parametrize(
    ("how", "packages"), [("gptq", "gptqmodel optimum"), ("awq", "gptqmodel"), ("hqq", "hqq")], ids=str
)
def test_a_library_that_is_not_there_is_named(how: str, packages: str, tiny_llama: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("bench.models.stored.find_spec", lambda name: None)
    shutil.copytree(tiny_llama, tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(
        json.dumps(config | {"quantization_config": {"quant_method": how, "bits": 4, "group_size": 128}})
    )
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load(Model(name="m", path=str(tmp_path / "m")), "cpu", None, F32)
    assert str(caught.value) == (
        f"model.path: the weights of {tmp_path}/m are quantised ({how}) and need a library that is not installed: "
        f"pip install {packages}"
    )

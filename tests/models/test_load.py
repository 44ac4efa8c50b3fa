"""Loading: what is explicit stays explicit, 4-bit weights are 4-bit, and an evaluation leaves gradients alone."""

import json
import math
import shutil
from pathlib import Path

import bitsandbytes as bnb
import pytest
import torch
from torch import nn
from transformers import AutoConfig, LlamaForCausalLM

from bench.config import Model
from bench.method import ModelInfo, Quantization
from bench.models.load import default_dtype, info, load, parameters, pick_device

F32 = torch.float32


def model_at(folder: str, **settings: object) -> Model:
    return Model(name="tiny", path=folder, **settings)  # type: ignore[arg-type]


def rewrite(folder: str, target: Path, file: str, **changes: object) -> str:
    shutil.copytree(folder, target)
    content = json.loads((target / file).read_text()) | changes
    (target / file).write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return str(target)


def test_info_comes_from_the_configuration_alone(tiny_llama: str, tmp_path: Path):
    shutil.copy(Path(tiny_llama) / "config.json", tmp_path)
    expected = ModelInfo("tiny", "llama", 64, 2, 320, gradient_checkpointing=True, device="cpu")
    assert info(model_at(str(tmp_path)), "cpu", gradient_checkpointing=True) == expected


def test_an_encoder_decoder_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "t5", "is_encoder_decoder": true}')
    with pytest.raises(ValueError, match=r"^model\.path: .* is a t5, not a decoder-only language model$"):
        info(model_at(str(tmp_path)), "cpu")


def test_a_model_the_hub_does_not_give_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"^model\.path: cannot load nobody/nothing: [^\n]+$"):
        info(model_at("nobody/nothing"), "cpu")


def test_a_folder_without_safetensors_is_refused(tiny_llama: str, tmp_path: Path):
    shutil.copytree(tiny_llama, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"^model\.path: cannot load .*safetensors"):
        load(model_at(str(tmp_path / "m")), "cpu", None, F32)


def test_an_attention_that_is_not_there_is_named(tiny_llama: str):
    with pytest.raises(ValueError, match=r"^model\.attention=flash_attention_2: "):
        load(model_at(tiny_llama, attention="flash_attention_2"), "cpu", None, F32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_base_is_frozen_and_as_asked(tiny_llama: str, dtype: torch.dtype):
    model, tokenizer = load(model_at(tiny_llama, attention="eager"), "cpu", None, dtype)
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert not any(p.requires_grad for p in model.parameters())
    assert model.config._attn_implementation == "eager"
    assert model.config.use_cache
    assert tokenizer.padding_side == "right"


def test_the_model_s_generation_settings_are_not_inherited(tiny_llama: str, tmp_path: Path):
    own = {"do_sample": True, "temperature": 0.2, "eos_token_id": [0, 7], "max_length": 9}
    folder = rewrite(tiny_llama, tmp_path / "m", "generation_config.json", **own)
    settings = load(model_at(folder), "cpu", None, F32)[0].generation_config.to_diff_dict()
    settings.pop("transformers_version", None)
    assert settings == {"bos_token_id": 0, "eos_token_id": [0, 7], "pad_token_id": 1}


def test_a_tokenizer_without_padding_pads_with_its_end(tiny_llama: str, tmp_path: Path):
    folder = rewrite(tiny_llama, tmp_path / "m", "tokenizer_config.json", pad_token=None)
    assert load(model_at(folder), "cpu", None, F32)[1].pad_token == "<|endoftext|>"
    other = rewrite(tiny_llama, tmp_path / "n", "tokenizer_config.json", pad_token=None, eos_token=None)
    with pytest.raises(ValueError, match=r"^model\.path: the tokenizer of .* has no token to pad with$"):
        load(model_at(other), "cpu", None, F32)


@pytest.mark.parametrize("quantization", [None, Quantization()])
def test_random_weights_repeat_and_leave_the_seed_alone(tiny_llama: str, quantization: Quantization | None):
    model = model_at(tiny_llama, weights="random")
    torch.manual_seed(5)
    first = load(model, "cpu", quantization, F32)[0]
    assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(5)))
    torch.manual_seed(6)
    second = load(model, "cpu", quantization, F32)[0].state_dict()
    trained = load(model_at(tiny_llama), "cpu", quantization, F32)[0].state_dict()
    key = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(first.state_dict()[key], second[key])
    assert not torch.equal(second[key], trained[key])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_quantised_weights_are_really_4_bit(architecture: str, tied: bool, tmp_path: Path, request):
    source = request.getfixturevalue(f"tiny_{architecture}")
    config = AutoConfig.from_pretrained(source, tie_word_embeddings=tied)
    if architecture == "llama":
        LlamaForCausalLM(config).save_pretrained(tmp_path / "m")
        for file in Path(source).glob("tokenizer*"):
            shutil.copy(file, tmp_path / "m")
        source = str(tmp_path / "m")
    plain, _ = load(model_at(source), "cpu", None, F32)
    model, _ = load(model_at(source), "cpu", Quantization(), F32)
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    assert head.dtype == embedding.dtype == F32
    assert (head.data_ptr() == embedding.data_ptr()) == (tied or architecture == "gpt2")

    layers = [m for m in model.modules() if isinstance(m, bnb.nn.Linear4bit)]
    assert len(layers) == (14 if architecture == "llama" else 8)
    assert not any(isinstance(m, nn.Linear) and m not in layers and m.weight is not head for m in model.modules())
    for layer in layers:
        stands_for = math.prod(layer.weight.quant_state.shape)
        assert layer.weight.dtype == torch.uint8
        assert layer.weight.nbytes * 2 == stands_for
        assert layer.weight.quant_state.quant_type == "nf4"
        assert layer.weight.quant_state.nested
        assert layer.compute_dtype == F32
        assert layer.support_avx512bf16_for_cpu is False
    assert parameters(model) == parameters(plain)
    assert parameters(plain).trainable == 0


def gradients(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    model.train()(input_ids=ids, labels=ids).loss.backward()
    return model.get_input_embeddings().weight.grad.clone()


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_an_evaluation_leaves_quantised_gradients_alone(architecture: str, request, monkeypatch: pytest.MonkeyPatch):
    # As on a CPU with AVX512-BF16, where bitsandbytes would repack the weights in evaluation, for a kernel without
    # a gradient.
    repacked = []

    def repack(weight: torch.Tensor, state: object) -> tuple[torch.Tensor, object]:
        repacked.append(weight)
        return weight, state

    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    monkeypatch.setattr("bitsandbytes.nn.modules._convert_weight_packed_for_cpu", repack)
    model, _ = load(model_at(request.getfixturevalue(f"tiny_{architecture}")), "cpu", Quantization(), F32)
    model.get_input_embeddings().weight.requires_grad_(True)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    ids = torch.arange(24).reshape(2, 12)
    before = gradients(model, ids)
    with torch.no_grad():
        model.eval()(input_ids=ids)
    assert not repacked
    assert before.abs().max() > 0
    assert torch.equal(before, gradients(model, ids))

    layer = next(m for m in model.modules() if isinstance(m, bnb.nn.Linear4bit))
    layer.support_avx512bf16_for_cpu = True  # what the attribute guards against does happen without it
    with torch.no_grad():
        model.eval()(input_ids=ids)
    assert repacked


def test_shared_parameters_count_once(tiny_llama: str):
    model, _ = load(model_at(tiny_llama), "cpu", None, F32)
    layer = 64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128 + 2 * 64
    assert parameters(model).total == 320 * 64 + 2 * layer + 64
    model.model.norm.weight.requires_grad_(True)
    assert parameters(model).trainable == 64


def test_dtype_and_device_by_name(monkeypatch: pytest.MonkeyPatch):
    assert default_dtype("auto", "cuda") == torch.bfloat16
    assert default_dtype("auto", "cpu") == default_dtype("auto", "mps") == default_dtype("float32", "cuda") == F32
    assert default_dtype("float16", "cpu") == torch.float16

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == "cpu"
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        pick_device("cuda")
    assert str(caught.value) == "hardware.device=cuda: torch finds no such device here; use cpu or auto"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == "cuda"

"""Loading: what is explicit stays explicit, 4-bit weights are 4-bit, and an evaluation leaves gradients alone."""

import json
import math
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import bitsandbytes as bnb
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, LlamaForCausalLM

from bench.config import Model
from bench.method import ModelInfo, Quantization
from bench.models.families import FAMILIES
from bench.models.load import default_dtype, info, load, parameters, pick_device

F32 = torch.float32


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **_: object) -> None:
        raise AssertionError(f"asked the network: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


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


def test_facts_describe_a_model_without_a_network(no_network: None):
    model = Model(name="m", path="nobody/nothing", architecture={"model_type": "gpt2", "n_embd": 32, "n_layer": 3})
    assert info(model, "cpu") == ModelInfo("m", "gpt2", 32, 3, 50257, False, "cpu", positions=1024)


@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_an_architecture_with_random_weights_needs_no_network(family: str, no_network: None):
    facts = FAMILIES[family].facts | {"vocab_size": 2048}
    model = Model(name="m", path="nobody/nothing", weights="random", architecture=facts)
    loaded, tokenizer = load(model, "cpu", None, torch.bfloat16, ("no", "yes"))
    assert loaded.get_input_embeddings().weight.dtype == torch.bfloat16
    assert len(tokenizer) == 2048
    assert tokenizer.pad_token_id is not None
    special = {"llama": [], "bert": [tokenizer.cls_token_id, tokenizer.sep_token_id], "t5": [tokenizer.eos_token_id]}
    plain = tokenizer("Return", add_special_tokens=False)["input_ids"]
    assert [i for i in tokenizer("Return")["input_ids"] if i not in plain] == special[family]
    if family == "t5":
        assert loaded.generation_config.decoder_start_token_id == loaded.config.pad_token_id


def test_another_tokenizer_is_used_and_must_fit(tiny_llama: str, tmp_path: Path):
    for file in Path(tiny_llama).glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    facts = FAMILIES["llama"].facts
    model = Model(name="m", weights="random", architecture=facts, tokenizer=str(tmp_path))
    assert len(load(model, "cpu", None, F32)[1]) == 320
    for settings, name, size in ((model, tmp_path, 320), (replace(model, tokenizer=""), "embedded:tiny-llama", 2048)):
        small = replace(settings, architecture=facts | {"vocab_size": 300})
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            load(small, "cpu", None, F32)
        assert str(caught.value) == f"model.tokenizer: {name} has {size} tokens, and m only 300"


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])
def test_a_tokenizer_without_words_is_refused(family: str, tmp_path: Path):
    """transformers makes one where the files with the words are missing, and says nothing."""
    AutoConfig.for_model(**FAMILIES[family].facts).save_pretrained(tmp_path / "m")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load(model_at(str(tmp_path / "m")), "cpu", None, F32, ("no", "yes"))
    assert str(caught.value) == f"model.path: {tmp_path}/m holds no tokenizer; name one with model.tokenizer"
    (tmp_path / "m" / "tokenizer_config.json").write_text("{}")
    for settings, key in ((model_at(str(tmp_path / "m")), "path"), (Model(tokenizer=str(tmp_path / "m")), "tokenizer")):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            load(settings, "cpu", None, F32, ("no", "yes"))
        assert str(caught.value) == (
            f"model.{key}: the tokenizer of {tmp_path}/m is empty; name another with model.tokenizer"
        )


def test_facts_that_are_not_those_of_the_model_are_refused(tiny_llama: str):
    with pytest.raises(ValueError, match=r"^model\.architecture: .* is a llama, not a gpt2$"):
        load(model_at(tiny_llama, architecture={"model_type": "gpt2"}), "cpu", None, F32)


def test_what_overflows_in_float16_is_refused():
    for family in ("t5", "rwkv"):
        facts = FAMILIES[family].facts | {"vocab_size": 2048}
        model = Model(name="m", weights="random", architecture=facts, attention="eager", dtype="float16")
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            load(model, "cpu", None, torch.float16)
        assert str(caught.value) == f"model.dtype=float16: {family} overflows in it; use bfloat16 or float32"


def test_pickled_weights_are_read_only_if_asked_for(tiny_llama: str, tmp_path: Path):
    shutil.copytree(tiny_llama, tmp_path / "m")
    weights = load_file(tmp_path / "m" / "model.safetensors")
    (tmp_path / "m" / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"; model\.safetensors=false reads pickled weights too$"):
        load(model_at(str(tmp_path / "m")), "cpu", None, F32)
    model, _ = load(model_at(str(tmp_path / "m"), safetensors=False), "cpu", None, F32)
    assert torch.equal(model.model.norm.weight, weights["model.norm.weight"])


def test_a_model_whose_layers_stay_as_they_are_is_not_called_quantised():
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "vocab_size": 2048}
    facts = FAMILIES["qwen3"].facts | experts | {"model_type": "qwen3_moe"}
    model = Model(name="m", path="o/m", weights="random", architecture=facts)
    with pytest.raises(
        ValueError, match=r"^model\.path: only \d+% of the weights in the layers of o/m can be in 4 bits$"
    ):
        load(model, "cpu", Quantization(), F32)


def test_a_model_the_hub_does_not_give_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"^model\.path: cannot load nobody/nothing: [^\n]+$"):
        info(model_at("nobody/nothing"), "cpu")


def test_an_attention_that_the_architecture_does_not_have_is_named():
    model = Model(name="m", weights="random", architecture=FAMILIES["rwkv"].facts | {"vocab_size": 2048})
    with pytest.raises(ValueError, match=r"^model\.attention=sdpa: .*RwkvForCausalLM does not support"):
        load(model, "cpu", None, F32)


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


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_weights_of_8_bits_are_nearly_what_they_were(architecture: str, request):
    source = request.getfixturevalue(f"tiny_{architecture}")
    plain, _ = load(model_at(source), "cpu", None, F32)
    model, _ = load(model_at(source), "cpu", Quantization(bits=8), F32)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, bnb.nn.Linear8bitLt)}
    assert len(layers) == (14 if architecture == "llama" else 8)
    assert {m.weight.dtype for m in layers.values()} == {torch.int8}
    assert model.get_output_embeddings().weight.dtype == F32
    assert parameters(model) == parameters(plain)
    ids = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        near, exact = (m.eval()(input_ids=ids).logits for m in (model, plain))
    assert 0 < (near - exact).abs().max() < 0.05 * exact.abs().max()


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


def test_weights_in_the_file_s_dtype_are_mapped_and_shared(tiny_llama: str, tmp_path: Path):
    """Children that load the same file share its pages: nothing of it is copied, by a forward pass neither."""
    folder = rewrite(tiny_llama, tmp_path / "larger", "config.json", vocab_size=20_000)
    LlamaForCausalLM(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    model, _ = load(model_at(folder), "cpu", None, F32)
    model(input_ids=torch.arange(20_000).view(100, 200))
    found, inside = {"Rss:": 0, "Private_Dirty:": 0}, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        key, *rest = line.split()
        if not key.endswith(":"):
            inside = line.endswith(f"{folder}/model.safetensors")
        elif inside and key in found:
            found[key] += int(rest[0]) * 1024
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    assert found["Rss:"] > 0.95 * weights
    assert found["Private_Dirty:"] < 0.05 * weights

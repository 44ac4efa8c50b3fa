"""The adapters beside LoRA's family: what they train, how they start, what they refuse and in which words."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.config import Model
from bench.method import Context, Method, ModelInfo
from bench.models.families import FAMILIES
from bench.models.load import info, load, parameters
from methods._blocks import blocks
from methods.biases import Beft, BitFit
from methods.cartridge import Cartridge
from methods.context_prompt import ContextPrompt
from methods.galore import Apollo, GaLore
from methods.ia3 import Ia3
from methods.layers import LastLayers, Lisa
from methods.llama_adapter import LlamaAdapter
from methods.lycoris import LoHa, LoKr
from methods.miss import Miss
from methods.multitask_prompt import MultitaskPrompt
from methods.norms import LnTuning
from methods.orthogonal import Boft, Hra, Oft, Psoft
from methods.peanut import Peanut
from methods.prefix import Prefix
from methods.ptuning import PTuning
from methods.road import Road
from methods.shadow import Shadow
from methods.sparse import Shira, SuperTuning
from methods.subspace import Deft, Osf
from methods.tokens import TrainableTokens
from methods.transforms import C3a, FourierFt, WaveFt

INSTRUCTION = "Which module does this docstring belong to?"
INFO = ModelInfo("m", "llama", 64, 2, 320, gradient_checkpointing=False, device="cpu")
SHAPES = 2 * [(64, 64), (64, 32), (64, 32), (64, 64), (64, 128), (64, 128), (128, 64)]  # inputs, outputs
INPUTS, OUTPUTS = sum(a for a, _ in SHAPES), sum(b for _, b in SHAPES)
ROWS = [{"input_ids": [7, 7, 9, 11], "labels": [-100, -100, 9, 11]}, {"input_ids": [7, 9], "labels": [-100, 9]}]


def adapt(folder: str, method: Method, rows: Any = ROWS) -> tuple[Any, Any]:
    model, tokenizer = load(Model(name="tiny", path=folder), "cpu", None, torch.float32)
    context = Context(info(Model(name="tiny", path=folder), "cpu"), tokenizer, INSTRUCTION, rows=rows)
    return model, method.adapt(model, context)


@pytest.mark.parametrize(
    ("method", "trainable"),
    [
        (LoHa(rank=2), 2 * 2 * (INPUTS + OUTPUTS)),  # two low-rank products
        (Oft(block_size=8), INPUTS // 8 * (8 * 7 // 2)),  # a skew-symmetric matrix for every block
        (Hra(rank=2), 2 * INPUTS),
        (Psoft(rank=4), len(SHAPES) * (4 * 3 // 2 + 4 + 4)),
        (FourierFt(coefficients=50), 50 * len(SHAPES)),
        (WaveFt(coefficients=50), 50 * len(SHAPES)),
        (C3a(block_size=16), sum(a * b // 16 for a, b in SHAPES)),
        (C3a(), sum(a * b // 32 for a, b in SHAPES)),  # 32 divides all
        (Shira(rank=2), 2 * (INPUTS + OUTPUTS)),
        (SuperTuning(sparsity=0.5), sum(a * b for a, b in SHAPES) // 2),
        (SuperTuning(sparsity=0.5, rank=2), sum(a * b for a, b in SHAPES) // 2 + 2 * (INPUTS + OUTPUTS)),
        (Miss(rank=4), 4 * OUTPUTS),
        (Road(), OUTPUTS),
        (Road(variant="road_4"), 4 * OUTPUTS),
        (Osf(kept=0.5), sum(min(a, b) // 2 * (a + b + 1) for a, b in SHAPES)),
        (Deft(rank=2), 2 * (INPUTS + OUTPUTS)),
        (Peanut(rank=2), 2 * (INPUTS + OUTPUTS)),
        (Ia3(), 2 * (32 + 32 + 128)),
        (LnTuning(), 5 * 64),
        (Beft(), 2 * 32),
        (LlamaAdapter(tokens=5), 2 * (5 * 64 + 1)),
        (LlamaAdapter(tokens=5, layers=1), 5 * 64 + 1),
        (TrainableTokens(tokens=6), 6 * 64),
        (Cartridge(virtual_tokens=4), 3 * 2 * 2 * 32),
        (Prefix(virtual_tokens=4, init="random", projection=True), 4 * 32 + 32 * 32 + 32 + 32 * 128 + 128),
        (MultitaskPrompt(virtual_tokens=4), 4 * 64 + 4 + 64),
        (ContextPrompt(virtual_tokens=4), 4 * 64),
    ],
    ids=str,
)
def test_trainable_parameters_by_hand(method: Method, trainable: int, tiny_llama: str):
    _, model = adapt(tiny_llama, method)
    assert parameters(model).trainable == trainable


@pytest.mark.parametrize(
    "method",
    [
        LoHa(), LoKr(), Oft(), Boft(), Hra(), Psoft(), FourierFt(), WaveFt(), C3a(), Shira(), SuperTuning(rank=2),
        Miss(), Road(), Osf(), Deft(), Deft(projection="qr"), Peanut(), Ia3(), LnTuning(), Beft(), LlamaAdapter(),
        Shadow(), TrainableTokens(),
    ],
    ids=str,
)  # fmt: skip
def test_untrained_it_changes_nothing(method: Method, tiny_llama: str):
    ids = torch.arange(12)[None]
    plain, _ = load(Model(name="tiny", path=tiny_llama), "cpu", None, torch.float32)
    _, model = adapt(tiny_llama, method)
    with torch.no_grad():
        torch.testing.assert_close(
            model.eval()(input_ids=ids).logits, plain.eval()(input_ids=ids).logits, atol=1e-4, rtol=1e-4
        )


def test_an_update_is_at_other_places_under_another_seed(tiny_llama: str):
    for method, places in ((FourierFt(), "indices"), (WaveFt(), "waveft_indices"), (Shira(), "shira_indices")):
        found = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            _, model = adapt(tiny_llama, method)
            found.append(next(getattr(m, places)["default"] for m in model.modules() if hasattr(m, places)))
        assert torch.equal(found[0], found[1])
        assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("family", "outputs", "inputs"),
    [
        ("llama", {"k_proj", "v_proj"}, {"down_proj"}),
        ("phi3", {"qkv_proj"}, {"down_proj"}),
        ("gpt2", {"c_attn"}, {"mlp.c_proj"}),
        ("bert", {"self.key", "self.value"}, {"0.output.dense", "1.output.dense"}),
        ("t5", {"Attention.k", "Attention.v"}, {"wo"}),
        ("opt", {"k_proj", "v_proj"}, {"fc2"}),
    ],
)
def test_ia3_scales_keys_values_and_hidden_units(family: str, outputs: set[str], inputs: set[str], tmp_path):
    from bench.models.tiny import tiny_model

    settings = Model(name="tiny", path=tiny_model(tmp_path, family), attention=FAMILIES[family].attention)
    base, tokenizer = load(settings, "cpu", None, torch.float32, ("no", "yes") if family == "bert" else ())
    model: Any = Ia3().adapt(base, Context(info(settings, "cpu"), tokenizer, INSTRUCTION))
    layers = {name: m for name, m in model.named_modules() if hasattr(m, "ia3_l")}
    for forward, ends in ((False, outputs), (True, inputs)):
        names = [name for name, m in layers.items() if m.is_feedforward is forward]
        assert names
        assert all(any(name.endswith(end) for end in ends) for name in names)
        assert all(any(name.endswith(end) for name in names) for end in ends)


def test_bitfit_trains_the_biases_and_nothing_else(tiny_gpt2: str):
    base, model = adapt(tiny_gpt2, BitFit())
    training = {name.rpartition(".")[2] for name, p in model.named_parameters() if p.requires_grad}
    assert training == {"bias"}
    frozen = {name.rpartition(".")[2] for name, p in base.named_parameters() if not p.requires_grad}
    assert frozen == {"weight"}


def test_bitfit_without_biases_says_so(tiny_llama: str):
    with pytest.raises(ValueError, match=r"^method=bitfit: tiny has no biases to train; use another method$"):
        adapt(tiny_llama, BitFit())


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "t5", "opt", "rwkv"])
def test_the_last_layers_are_the_decoder_s_last(family: str, tmp_path):
    from bench.models.tiny import tiny_model

    settings = Model(name="tiny", path=tiny_model(tmp_path, family), attention=FAMILIES[family].attention)
    base, tokenizer = load(settings, "cpu", None, torch.float32, ("no", "yes") if family == "bert" else ())
    layers = blocks(base)
    assert len(layers) == (4 if family == "t5" else 2)
    model = LastLayers(layers=1).adapt(base, Context(info(settings, "cpu"), tokenizer, INSTRUCTION))
    training = {id(p) for p in model.parameters() if p.requires_grad}
    assert training == {id(p) for p in layers[-1].parameters()}


def test_the_tokens_are_the_most_frequent_and_then_the_first(tiny_llama: str):
    _, model = adapt(tiny_llama, TrainableTokens(tokens=2))
    assert model.peft_config["default"].token_indices == [7, 9]
    _, model = adapt(tiny_llama, TrainableTokens(tokens=5))
    assert model.peft_config["default"].token_indices == [0, 1, 7, 9, 11]
    pairs = [{"prompt_ids": [4], "chosen_ids": [8, 8], "rejected_ids": [8]}]
    _, model = adapt(tiny_llama, TrainableTokens(tokens=1), pairs)
    assert model.peft_config["default"].token_indices == [8]


def test_a_cartridge_starts_from_text_and_keeps_its_first_token(tiny_llama: str):
    _, cartridge = adapt(tiny_llama, Cartridge(virtual_tokens=6, frozen_tokens=2))
    _, prefix = adapt(tiny_llama, Prefix(virtual_tokens=6))
    whole, encoder = prefix.prompt_encoder["default"].embedding.weight, cartridge.prompt_encoder["default"]
    assert torch.equal(encoder.weight, whole)
    assert torch.equal(encoder.frozen_embedding, whole[:2])
    assert not encoder.frozen_embedding.requires_grad


def test_a_multitask_prompt_starts_as_a_prompt(tiny_llama: str):
    base, model = adapt(tiny_llama, MultitaskPrompt(virtual_tokens=5, rank=2))
    with torch.no_grad():
        start = model.get_prompt(batch_size=1, task_ids=torch.zeros(1, dtype=torch.long))[0]
    words = base.get_input_embeddings().weight
    assert torch.cdist(start, words).min(1).values.max() < 1e-3


def test_cpt_starts_as_examples_and_moves_all_but_their_answers_a_little(tiny_llama: str):
    base, model = adapt(tiny_llama, ContextPrompt(virtual_tokens=8, epsilon=0.5))
    config, encoder = model.peft_config["default"], model.prompt_encoder["default"]
    assert config.cpt_token_ids == [7, 7, 9, 11, 7, 9, 7, 7]
    assert config.cpt_tokens_type_mask == [2, 2, 4, 4, 6, 8, 10, 10]
    assert torch.equal(encoder.embedding.weight, base.get_input_embeddings().weight[config.cpt_token_ids])
    with torch.no_grad():
        encoder.delta_embedding.weight.fill_(1.0)
        expected = type(encoder).get_projection(encoder)
        moved = encoder.get_projection()
    torch.testing.assert_close(moved, expected)
    limit = 0.5 * (64 / 2048) ** 0.5
    answers = torch.tensor([kind % 4 == 0 for kind in config.cpt_tokens_type_mask])
    torch.testing.assert_close(moved.norm(dim=1)[~answers], torch.full((5,), limit))
    assert moved.norm(dim=1)[answers].max() < 1e-9


@pytest.mark.parametrize(
    ("method", "errors"),
    [
        (LoHa(rank=0), ["method.rank must be >= 1, got 0"]),
        (LoKr(alpha=0), ["method.alpha must be > 0, got 0"]),
        (Oft(block_size=0), ["method.block_size must be >= 1, got 0"]),
        (Boft(factors=0), ["method.factors must be >= 1, got 0"]),
        (Hra(rank=3), ["method.rank must be even and >= 2, got 3"]),
        (Psoft(rank=0), ["method.rank must be >= 1, got 0"]),
        (FourierFt(coefficients=0), ["method.coefficients must be >= 1, got 0"]),
        (WaveFt(scaling=0), ["method.scaling must be > 0, got 0"]),
        (C3a(block_size=-1), ["method.block_size must be >= 0, got -1"]),
        (Shira(rank=0), ["method.rank must be >= 1, got 0"]),
        (SuperTuning(sparsity=1), ["method.sparsity must be >= 0 and < 1, got 1"]),
        (SuperTuning(rank=-1), ["method.rank must be >= 0, got -1"]),
        (Miss(rank=0), ["method.rank must be >= 1, got 0"]),
        (Road(variant="road_3"), ["method.variant must be one of road_1, road_2, road_4, got 'road_3'"]),
        (Osf(kept=1), ["method.kept must be > 0 and < 1, got 1"]),
        (Deft(projection="svd"), ["method.projection must be one of relu, qr, got 'svd'"]),
        (Peanut(depth=-1), ["method.depth must be >= 0, got -1"]),
        (LlamaAdapter(tokens=0), ["method.tokens must be >= 1, got 0"]),
        (LlamaAdapter(layers=-1), ["method.layers must be >= 0, got -1"]),
        (Shadow(strength=0), ["method.strength must be > 0, got 0"]),
        (TrainableTokens(tokens=0), ["method.tokens must be >= 1, got 0"]),
        (
            Cartridge(frozen_tokens=16),
            ["method.frozen_tokens must be >= 0 and < method.virtual_tokens, got 16"],
        ),
        (Cartridge(projection=True, init="random"), ["method.projection is of prefix alone; use method=prefix"]),
        (
            Prefix(projection=True),
            ["method.init must be random with method.projection, got text, which sets keys and values"],
        ),
        (PTuning(network="gru"), ["method.network must be one of mlp, lstm, got 'gru'"]),
        (MultitaskPrompt(rank=0), ["method.rank must be >= 1, got 0"]),
        (
            MultitaskPrompt(init="vocabulary"),
            ["method.init must be one of text, random for multitask-prompt, got 'vocabulary'"],
        ),
        (ContextPrompt(epsilon=0), ["method.epsilon must be > 0, got 0"]),
        (LastLayers(layers=0), ["method.layers must be >= 1, got 0"]),
        (Lisa(interval=0), ["method.interval must be >= 1, got 0"]),
        (GaLore(rank=0), ["method.rank must be >= 1, got 0"]),
        (Apollo(scale_type="row"), ["method.scale_type must be one of channel, tensor, got 'row'"]),
    ],
    ids=str,
)
def test_errors_name_their_keys(method: Method, errors: list[str]):
    assert method.errors() == errors


@pytest.mark.parametrize(
    ("method", "changes", "word"),
    [
        (LoHa(), {"architecture": "gpt2"}, "are of the class Conv1D, on which peft has no loha"),
        (LoHa(), {"architecture": "mamba"}, "linear layers"),
        (Ia3(), {"architecture": "rwkv"}, "no keys and values of attention"),
        (Beft(), {"architecture": "falcon"}, "in one layer"),
        (Beft(), {"architecture": "mamba"}, "no values of attention"),
        (LlamaAdapter(), {"architecture": "qwen3"}, "llama, mistral, gpt2"),
        (Shadow(), {"kind": "seq2seq"}, "runs beside a decoder"),
        (ContextPrompt(), {"kind": "classifier"}, "causal models with attention"),
        (Cartridge(), {"architecture": "mamba"}, "keys and values"),
    ],
    ids=str,
)
def test_what_is_not_supported_is_said_in_words(method: Method, changes: dict[str, object], word: str):
    assert method.supports(INFO) is None
    assert word in str(method.supports(replace(INFO, **changes)))


def test_bitfit_refuses_what_has_no_biases():
    assert BitFit().supports(INFO) == "llama has no biases to train"
    assert BitFit().supports(replace(INFO, architecture="gpt2")) is None


@pytest.mark.parametrize("method", [GaLore(), Apollo()], ids=str)
def test_an_optimizer_of_a_package_that_is_not_there_names_it(method: Method, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("methods.galore.find_spec", lambda name: None)
    reason = f"needs the package {method.name}-torch, which is not installed: pip install 'tunebench[{method.name}]'"
    assert method.supports(INFO) == reason
    monkeypatch.setattr("methods.galore.find_spec", lambda name: name == f"{method.name}_torch")
    assert method.supports(INFO) is None

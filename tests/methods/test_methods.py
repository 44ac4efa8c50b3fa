"""The seven methods: what they train, how they start, what they refuse and in which words."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.config import Model, Run, from_dict, to_dict
from bench.method import Context, Method, ModelInfo, Quantization, discover
from bench.models.load import info, load, parameters
from methods.cpo import Cpo
from methods.dpo import Dpo
from methods.full import Full
from methods.kto import Kto
from methods.lora import Lora
from methods.orpo import Orpo
from methods.prefix import Prefix
from methods.prompt import Prompt
from methods.ptuning import PTuning
from methods.qlora import Qlora

INSTRUCTION = "Which module does this docstring belong to?"
INFO = ModelInfo("m", "llama", 64, 2, 320, gradient_checkpointing=False, device="cpu")


def adapt(folder: str, method: Method, **words: object) -> tuple[nn.Module, nn.Module, Context]:
    model, tokenizer = load(Model(name="tiny", path=folder), "cpu", method.quantization(), torch.float32)
    context = Context(info(Model(name="tiny", path=folder), "cpu"), tokenizer, **({"instruction": INSTRUCTION} | words))
    return model, method.adapt(model, context), context


def test_the_seven_are_there():
    assert {"lora", "qlora", "prefix", "prompt", "ptuning", "full", "dpo"} <= discover().keys()


LINEAR = 2 * sum(8 * (a + b) for a, b in [(64, 64), (64, 32), (64, 32), (64, 64), (64, 128), (64, 128), (128, 64)])


@pytest.mark.parametrize(
    ("method", "trainable"),
    [
        (Lora(), LINEAR),
        (Lora(rank=2), LINEAR // 4),
        (Qlora(), LINEAR),
        (Dpo(), LINEAR),
        (Prefix(), 16 * 2 * 2 * 32),  # tokens, layers, key and value, two heads of 16
        (Prefix(virtual_tokens=3, init="random"), 3 * 2 * 2 * 32),
        (Prompt(), 16 * 64),
        (PTuning(), 16 * 64 + 3 * (64 * 64 + 64)),
        (PTuning(hidden_size=8), 16 * 64 + (64 * 8 + 8) + (8 * 8 + 8) + (8 * 64 + 64)),
        (Full(), 94528),
    ],
    ids=str,
)
def test_trainable_parameters_by_hand(method: Method, trainable: int, tiny_llama: str):
    _, model, _ = adapt(tiny_llama, method)
    assert parameters(model).trainable == trainable
    assert parameters(model).total == (94528 if method.trains_base_weights() else 94528 + trainable)


def test_lora_reaches_every_linear_layer_but_the_head(tiny_gpt2: str):
    _, model, _ = adapt(tiny_gpt2, Lora())
    touched = {name.split(".lora_A")[0].rpartition(".")[2] for name, p in model.named_parameters() if "lora_A" in name}
    assert touched == {"c_attn", "c_proj", "c_fc"}


def test_an_untrained_lora_changes_nothing(tiny_llama: str):
    ids = torch.arange(12)[None]
    plain, _ = load(Model(name="tiny", path=tiny_llama), "cpu", None, torch.float32)
    _, model, _ = adapt(tiny_llama, Lora())
    with torch.no_grad():
        assert torch.equal(model.eval()(input_ids=ids).logits, plain.eval()(input_ids=ids).logits)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_prefix_from_text_is_the_text_in_front(architecture: str, request):
    folder = request.getfixturevalue(f"tiny_{architecture}")
    _, model, context = adapt(folder, Prefix(virtual_tokens=6))
    start = torch.tensor([context.tokenizer(INSTRUCTION)["input_ids"][:6]])
    ids = torch.arange(40, 52)[None]
    plain, _ = load(Model(name="tiny", path=folder), "cpu", None, torch.float32)
    with torch.no_grad():
        expected = plain.eval()(input_ids=torch.cat([start, ids], 1)).logits[:, 6:]
        torch.testing.assert_close(model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits, expected)


@pytest.mark.parametrize("method", [Prefix(), Prompt()], ids=str)
def test_a_short_text_is_repeated_and_a_missing_one_refused(method: Method, tiny_llama: str):
    adapt(tiny_llama, replace(method, virtual_tokens=90))
    with pytest.raises(ValueError, match=r"^method\.init=text needs a task with an instruction"):
        adapt(tiny_llama, method, instruction="", examples=())


def test_a_prompt_starts_from_the_words_of_instruction_and_examples(tiny_llama: str):
    base, model, context = adapt(tiny_llama, Prompt(virtual_tokens=40), examples=("Sort the list.",))
    ids = context.tokenizer(f"{INSTRUCTION}\nSort the list.")["input_ids"]
    ids = (ids * 40)[:40]
    expected = base.get_input_embeddings().weight[ids]
    assert torch.equal(model.prompt_encoder["default"].embedding.weight, expected)


def test_a_prompt_from_the_vocabulary_is_made_of_tokens(tiny_llama: str):
    base, model, _ = adapt(tiny_llama, Prompt(init="vocabulary"))
    start, words = model.prompt_encoder["default"].embedding.weight, base.get_input_embeddings().weight
    assert torch.cdist(start, words).min(1).values.max() < 1e-3
    _, other, _ = adapt(tiny_llama, Prompt(init="random"))
    assert torch.cdist(other.prompt_encoder["default"].embedding.weight, words).min() > 1


def test_qlora_wants_four_bits_and_its_adapter_is_float32(tiny_llama: str):
    assert Qlora().quantization() == Quantization("nf4", double=True)
    assert Qlora(data_type="fp4", double_quantization=False).quantization() == Quantization("fp4", double=False)
    _, model, _ = adapt(tiny_llama, Qlora())
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for n, p in model.named_parameters() if "base_layer" in n} == {torch.uint8}


def test_full_holds_float32_master_weights_of_a_bfloat16_model(tiny_llama: str):
    model, _ = load(Model(name="tiny", path=tiny_llama), "cpu", None, torch.bfloat16)
    trained = Full().adapt(model, Context(INFO, None, ""))
    assert {(p.dtype, p.requires_grad) for p in trained.parameters()} == {(torch.float32, True)}
    assert trained.get_output_embeddings().weight is trained.get_input_embeddings().weight


def test_dpo_is_an_objective_on_any_adapter(tiny_llama: str):
    dpo = Dpo(adapter=Qlora(rank=4))
    assert dpo.objective == "dpo"
    assert dpo.quantization() == Quantization()
    assert not dpo.trains_base_weights()
    assert Dpo(adapter=Full()).trains_base_weights()
    assert Dpo(adapter=Prefix()).supports(replace(INFO, gradient_checkpointing=True))
    assert dpo.param_groups(nn.Linear(1, 1)) is None
    _, model, _ = adapt(tiny_llama, dpo)
    assert parameters(model).trainable == LINEAR // 2


def test_titles_of_objectives_name_the_loss_and_the_adapter_where_they_are_not_the_usual_ones():
    assert [cls().title() for cls in (Kto, Orpo, Cpo)] == ["kto", "orpo", "cpo"]
    assert Dpo(loss_type="ipo").title() == "dpo-ipo"
    assert Dpo(loss_type="ipo", adapter=Qlora()).title() == "dpo-ipo-qlora"
    assert Kto(adapter=Prefix()).title() == "kto-prefix"
    assert Cpo(loss_type="simpo", label="simpo").title() == "simpo"


def test_titles_of_dpo():
    assert Dpo().title() == "dpo"
    assert Dpo(adapter=Qlora()).title() == "dpo-qlora"
    assert Dpo(adapter=Lora(label="lora-r64")).title() == "dpo"
    assert Dpo(adapter=Prompt(label="long-prompt")).title() == "dpo-long-prompt"
    assert Dpo(adapter=Qlora(), label="mine").title() == "mine"


def test_dpo_s_adapter_travels_through_the_configuration():
    run = Run(Dpo(beta=0.3, adapter=Qlora(rank=2)))
    again = from_dict(to_dict(run))
    assert again == run
    assert isinstance(again.method.adapter, Qlora)


@pytest.mark.parametrize(
    ("method", "errors"),
    [
        (Lora(rank=0), ["method.rank must be >= 1, got 0"]),
        (Lora(alpha=0), ["method.alpha must be > 0, got 0"]),
        (Lora(dropout=1.0), ["method.dropout must be >= 0 and < 1, got 1"]),
        (Qlora(rank=-1), ["method.rank must be >= 1, got -1"]),
        (Qlora(data_type="int8"), ["method.data_type must be one of nf4, fp4, got 'int8'"]),
        (Prefix(virtual_tokens=0), ["method.virtual_tokens must be >= 1, got 0"]),
        (Prefix(init="vocabulary"), ["method.init must be one of text, random, got 'vocabulary'"]),
        (Prompt(init="txt"), ["method.init must be one of text, vocabulary, random, got 'txt'"]),
        (Prompt(virtual_tokens=0), ["method.virtual_tokens must be >= 1, got 0"]),
        (PTuning(virtual_tokens=0), ["method.virtual_tokens must be >= 1, got 0"]),
        (PTuning(hidden_size=-1), ["method.hidden_size must be >= 0, got -1"]),
        (Full(learning_rate=0), ["method.learning_rate must be > 0, got 0"]),
        (Dpo(beta=0), ["method.beta must be > 0, got 0"]),
        (Dpo(adapter=Lora(rank=0)), ["method.adapter.rank must be >= 1, got 0"]),
        (Dpo(loss_type="ipp"), ["method.loss_type must be one of sigmoid, hinge, ipo, robust, got 'ipp'"]),
        (Dpo(loss_type="robust"),
            ["method.label_smoothing must be > 0 and < 0.5 with loss_type=robust, got 0"]),
        (Dpo(label_smoothing=0.1),
            ["method.label_smoothing has no effect with loss_type=sigmoid; use loss_type=robust"]),
        (Kto(undesirable_weight=0), ["method.undesirable_weight must be > 0, got 0"]),
        (Kto(adapter=Prompt(virtual_tokens=0)), ["method.adapter.virtual_tokens must be >= 1, got 0"]),
        (Orpo(beta=-1), ["method.beta must be > 0, got -1"]),
        (Cpo(alpha=-1), ["method.alpha must be >= 0, got -1"]),
        (Cpo(gamma=1), ["method.gamma has no effect with loss_type=sigmoid; use loss_type=simpo"]),
        (Orpo(adapter=Kto()), ["method.adapter must be a method of the objective sft, got 'kto'"]),
        (Dpo(adapter=Dpo()), ["method.adapter must be a method of the objective sft, got 'dpo'"]),
    ],
    ids=str,
)  # fmt: skip
def test_errors_name_their_keys(method: Method, errors: list[str]):
    assert method.errors() == errors


@pytest.mark.parametrize(
    ("method", "changes", "word"),
    [
        (Lora(), {"architecture": "mamba"}, "linear layers"),
        (Qlora(), {"architecture": "mamba"}, "linear layers"),
        (Dpo(), {"architecture": "mamba"}, "linear layers"),
        (Prefix(), {"architecture": "mamba"}, "keys and values"),
        (Prefix(), {"architecture": "rwkv"}, "keys and values"),
        (Prefix(), {"architecture": "distilbert", "kind": "classifier"}, "from outside"),
        (Dpo(), {"kind": "classifier"}, "preferences are learned by causal models, and this is a classifier model"),
        (Orpo(), {"kind": "seq2seq"}, "preferences are learned by causal models, and this is a seq2seq model"),
        (Dpo(), {"kind": "seq2seq"}, "preferences are learned by causal models, and this is a seq2seq model"),
        (Prefix(), {"gradient_checkpointing": True}, "train.gradient_checkpointing=false"),
    ],
    ids=str,
)
def test_what_is_not_supported_is_said_in_words(method: Method, changes: dict[str, object], word: str):
    assert method.supports(INFO) is None
    assert word in str(method.supports(replace(INFO, **changes)))

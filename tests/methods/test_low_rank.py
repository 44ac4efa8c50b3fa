"""LoRA's family: what each starts from, what of it trains, and that plain LoRA comes of what moves the base's weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn

from bench.config import Model
from bench.data.tokens import Tokens, training_row
from bench.method import Context, Method, ModelInfo
from bench.models import checkpoint
from bench.models.load import info, load, parameters
from bench.models.tiny import TEXT, tiny_model
from methods.adalora import AdaLora
from methods.corda import Corda, LoraGA
from methods.dora import Dora
from methods.eva import Eva
from methods.forms import GraLora, Lily
from methods.loftq import Loftq
from methods.lora import Lora, RsLora
from methods.lorafa import LoraFA
from methods.loraplus import LoraPlus
from methods.mica import Mica
from methods.pissa import Olora, Pissa
from methods.qlora import Qlora
from methods.vectors import TinyLora, UniLora, VbLora
from methods.vera import Vera

SHAPES = 2 * [(64, 64), (32, 64), (32, 64), (64, 64), (128, 64), (128, 64), (64, 128)]  # outputs, inputs
IDS = torch.arange(2, 50).reshape(2, 24)


def adapt(folder: str, method: Method, **settings: Any) -> tuple[Any, Any, Context]:
    """A fresh base, the adapted model and what the method was told, which has some rows."""
    model = Model(name="tiny", path=folder, **settings)
    base, tokenizer = load(model, "cpu", method.quantization(), torch.float32, ("no", "yes"))
    rows = [training_row(Tokens(tokenizer(text)["input_ids"], [5, 6])) for text in TEXT]
    context = Context(info(model, "cpu"), tokenizer, TEXT[0], TEXT[1:], rows, 20)
    torch.manual_seed(0)
    return base, method.adapt(base, context).eval(), context


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def untouched(folder: str) -> Tensor:
    return logits(load(Model(name="tiny", path=folder), "cpu", None, torch.float32)[0].eval())


def layer(model: Any) -> Any:
    """The first that LoRA is on."""
    return model.base_model.model.model.layers[0].self_attn.q_proj


LORA = 8 * sum(a + b for a, b in SHAPES)


@pytest.mark.parametrize(
    ("method", "trainable"),
    [
        (RsLora(), LORA),
        (Dora(), LORA + sum(a for a, _ in SHAPES)),
        (LoraFA(), 8 * sum(a for a, _ in SHAPES)),
        (Mica(), 8 * sum(b for _, b in SHAPES)),
        (Pissa(), LORA),
        (GraLora(), LORA),
        (AdaLora(), 12 * sum(a + b + 1 for a, b in SHAPES)),
        (Vera(), sum(a + 64 for a, _ in SHAPES)),
        (VbLora(), 256 * 32 + 4 * 256 * sum(a + b for a, b in SHAPES) // 32),
        (UniLora(), 2048),
        (TinyLora(), 64 * len(SHAPES)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_trainable_parameters_by_hand(method: Method, trainable: int, tiny_llama: str):
    assert parameters(adapt(tiny_llama, method)[1]).trainable == trainable


@pytest.mark.parametrize("method", [Pissa(), Pissa(iterations=0), Olora(), Corda(), LoraGA()], ids=str)
def test_what_starts_from_a_part_of_the_weights_computes_what_the_base_does_and_leaves_it(method, tiny_llama):
    base, model, _ = adapt(tiny_llama, method)
    expected = untouched(tiny_llama)
    torch.testing.assert_close(logits(model), expected, atol=1e-4, rtol=0)
    with model.disable_adapter():
        assert torch.equal(logits(model), expected)
    outer, inner = layer(model).lora_B["default"].weight, layer(model).lora_A["default"].weight
    assert (outer @ inner).norm() > 0.1


def test_pissa_starts_from_the_principal_part(tiny_llama: str):
    _, model, _ = adapt(tiny_llama, Pissa())
    found = layer(model)
    outer, sizes, inner = torch.linalg.svd(found.base_layer.weight)
    principal = outer[:, :8] * sizes[:8] @ inner[:8]
    start = found.scaling["default"] * found.lora_B["default"].weight @ found.lora_A["default"].weight
    torch.testing.assert_close(start, principal, atol=1e-3, rtol=0)


def test_olora_starts_from_orthonormal_columns(tiny_llama: str):
    columns = layer(adapt(tiny_llama, Olora())[1]).lora_B["default"].weight
    torch.testing.assert_close(columns.T @ columns, torch.eye(8), atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", [Pissa(), Olora(), LoraGA()], ids=lambda method: method.name)
def test_it_is_saved_as_plain_lora_of_twice_the_rank(method, tiny_llama, tmp_path):
    _, model, context = adapt(tiny_llama, method)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    checkpoint.save(model, tmp_path)
    base, _ = load(Model(name="tiny", path=tiny_llama), "cpu", None, torch.float32)
    plain = PeftModel.from_pretrained(base, str(tmp_path)).eval()
    settings = plain.peft_config["default"]
    assert (settings.r, settings.lora_alpha, settings.init_lora_weights) == (16, 32, True)
    torch.testing.assert_close(logits(plain), logits(model), atol=1e-4, rtol=0)
    assert (logits(plain) - untouched(tiny_llama)).abs().max() > 0.1


def test_lora_plus_trains_the_outer_matrix_faster(tmp_path: Path):
    method = LoraPlus(learning_rate=0.01, ratio=4)
    _, model, _ = adapt(tiny_model(tmp_path, "bert"), method)
    inner, outer, head = method.param_groups(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert all(".lora_A." in names[id(p)] for p in inner["params"])
    assert all(".lora_B." in names[id(p)] for p in outer["params"])
    assert all(".modules_to_save." in names[id(p)] for p in head["params"])
    assert (inner.get("lr"), outer["lr"], head["lr"]) == (None, 0.04, 3e-3)
    assert sum(len(group["params"]) for group in (inner, outer, head)) == sum(
        p.requires_grad for p in model.parameters()
    )


def test_eva_starts_from_what_the_inputs_vary_in(tiny_llama: str):
    _, model, context = adapt(tiny_llama, Eva())
    torch.testing.assert_close(logits(model), untouched(tiny_llama), atol=1e-6, rtol=0)
    seen: list[Tensor] = []
    found = layer(model)
    found.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    with torch.no_grad():
        for row in context.rows:
            model(input_ids=torch.tensor([row["input_ids"]]))
    inputs = torch.cat(seen)
    inputs = inputs - inputs.mean(0)
    start = found.lora_A["default"].weight
    torch.testing.assert_close(start @ start.T, torch.eye(8), atol=1e-4, rtol=0)
    kept, best = (inputs @ start.T).square().sum(), torch.linalg.svdvals(inputs)[:8].square().sum()
    assert kept > 0.9 * best
    assert {rank for module in model.modules() for rank in getattr(module, "r", {}).values()} == {8}


def test_eva_moves_ranks_where_they_explain_more_and_reloads(tiny_llama: str, tmp_path):
    _, model, context = adapt(tiny_llama, Eva(redistribution=2))
    ranks = [rank for module in model.modules() for rank in getattr(module, "r", {}).values()]
    assert sum(ranks) == 8 * len(SHAPES)
    assert len(set(ranks)) > 1
    checkpoint.save(model, tmp_path)
    base, _ = load(Model(name="tiny", path=tiny_llama), "cpu", None, torch.float32)
    again = checkpoint.reload(base, tmp_path, Eva(), context)
    assert parameters(again).total == parameters(model).total


def test_loftq_is_nearer_to_the_weights_as_they_were(tiny_llama: str):
    expected = untouched(tiny_llama)
    lost, less = (logits(adapt(tiny_llama, method)[1]) - expected for method in (Qlora(), Loftq()))
    assert 0 < less.norm() < 0.9 * lost.norm()


def test_loftq_needs_the_weights_as_they_were(tiny_llama: str):
    with pytest.raises(ValueError, match=r"^model\.path: method=loftq reads the weights as they were before "):
        adapt(tiny_llama, Loftq(), weights="random")


def test_adalora_keeps_its_matrices_orthogonal(tiny_llama: str):
    method = AdaLora(orthogonality=0.5)
    _, model, _ = adapt(tiny_llama, method)
    distances = []
    for name, p in model.named_parameters():
        if ".lora_A." in name:
            distances.append(torch.linalg.norm(p @ p.T - torch.eye(12)))
        if ".lora_B." in name:
            distances.append(torch.linalg.norm(p.T @ p - torch.eye(12)))
    assert len(distances) == 2 * len(SHAPES)
    assert float(method.penalty(model)) == pytest.approx(0.5 * float(sum(distances)) / len(distances))
    assert AdaLora(orthogonality=0.0).penalty(model) is None


@pytest.mark.parametrize(
    ("method", "error"),
    [
        (LoraPlus(ratio=0), "method.ratio must be > 0, got 0"),
        (Pissa(iterations=-1), "method.iterations must be >= 0, got -1"),
        (Corda(examples=0), "method.examples must be >= 1, got 0"),
        (Eva(redistribution=0.5), "method.redistribution must be >= 1, got 0.5"),
        (Qlora(bits=3), "method.bits must be 4 or 8, got 3"),
        (AdaLora(initial_rank=8), "method.initial_rank must be > method.rank=8, got 8"),
        (
            AdaLora(warmup=0.5, final=0.5),
            "method.warmup and method.final must be >= 0 and < 1 together, got 0.5 and 0.5",
        ),
        (VbLora(top=9, vectors=8), "method.top must be <= method.vectors=8, got 9"),
        (TinyLora(sharing=2), "method.sharing must be >= 0 and <= 1, got 2"),
        (GraLora(rank=9), "method.blocks must divide method.rank=9, got 2"),
        (Lily(experts=1), "method.experts must be >= 2, got 1"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_bad_values_are_named(method: Method, error: str):
    assert method.errors() == [error]


@pytest.mark.parametrize(
    ("method", "architecture", "kind", "word"),
    [
        (Dora(), "qwen3_moe", "causal", "experts"),
        (Olora(), "gpt2", "causal", "Conv1D"),
        (Loftq(), "gpt2", "causal", "transposed"),
        (Eva(), "t5", "seq2seq", "two texts"),
        (Corda(), "bert", "classifier", "reads a token"),
        (Lora(), "mamba", "causal", "directly"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_does_not_work_is_said(method: Method, architecture: str, kind: str, word: str):
    told = ModelInfo("m", architecture, 64, 2, 320, gradient_checkpointing=False, device="cpu", kind=kind)
    assert word in str(method.supports(told))

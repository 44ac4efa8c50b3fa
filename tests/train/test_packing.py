"""Rows laid end to end: the same losses without padding, and a refusal where a row would see another."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForCausalLM

from bench.advise.questions import question
from bench.advise.trace import Workload
from bench.config import Budget, Model, Run, Task, Train
from bench.config.run import from_dict, to_dict
from bench.data.tokens import PadRight
from bench.forecast import workload
from bench.limits import unpackable
from bench.method import ModelInfo, discover, get
from bench.models.families import FAMILIES
from bench.models.logits import label_log_probs
from bench.models.tiny import tiny_model
from bench.trace.training import trace
from bench.train.packing import NotTold, Pack, Rows, packed, together
from methods.dpo import Dpo
from methods.full import Full
from methods.lora import Lora
from methods.prompt import Prompt

IDS = [list(range(5, 5 + length)) for length in (7, 3, 12)]
ROWS = [{"input_ids": ids, "labels": [-100, *ids[1:]]} for ids in IDS]
LONGEST = 30
APART = ("gpt2", "gptj", "llama", "mistral", "qwen2", "qwen3", "gemma3", "phi3", "glm", "gpt_neox", "opt")
MIXING = ("cartridge", "cpt", "lily", "multitask-prompt", "prefix", "prompt", "ptuning")


def still(model: Any) -> None:
    """No dropout, which would drop others."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (Lora(), {}),
        (Lora(), {"gradient_checkpointing": True}),
        (Full(), {"gradient_accumulation": 2}),
        (Full(), {"loss": "full"}),
        (Full(), {"compile": "aot_eager"}),
    ],
    ids=["lora", "checkpointing", "accumulation", "all logits", "compiled"],
)
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_losses_and_counts_are_the_same(method, settings, architecture, fit):
    padded, own = (
        fit(method, architecture=architecture, packing=packing, prepare=still, **settings) for packing in (False, True)
    )
    assert own.losses == pytest.approx(padded.losses, abs=1e-5)
    assert own.losses[0] != own.losses[-1]
    counted = [
        [(line["examples"], line["tokens"], line["trained_tokens"]) for line in each.lines] for each in (padded, own)
    ]
    assert counted[0] == counted[1]
    assert own.model.config._attn_implementation == "sdpa"


def test_there_is_no_padding():
    batch = Pack()(ROWS)
    assert batch["rows"] == Rows((7, 3, 12))
    assert batch["input_ids"].shape == batch["labels"].shape == (1, 22)
    assert batch["position_ids"][0, 6:11].tolist() == [6, 0, 1, 2, 0]


def differ(model: Any) -> float:
    """How much packing changes what a model says of rows, at most."""
    with torch.no_grad(), packed(model, True):
        own = label_log_probs(model, Pack()(ROWS))
    with torch.no_grad():
        return float((own - label_log_probs(model, PadRight(1)(ROWS))).abs().max())


@pytest.mark.parametrize("family", [name for name, found in FAMILIES.items() if found.kind == "causal"])
def test_rows_are_apart_or_the_model_is_refused(family, tmp_path, on_model):
    settings = Model(family, path=tiny_model(tmp_path, family), attention=FAMILIES[family].attention)
    model, _ = on_model(settings, Full())
    assert (together(model, LONGEST) is None) == (family in APART)
    if family in APART:
        assert differ(model) < 1e-5


@pytest.mark.parametrize("method", sorted(discover()))
def test_every_method_keeps_rows_apart_or_is_refused(method, adapted):
    model, _ = adapted("gpt2" if method == "bitfit" else "llama", get(method)())
    assert (together(model.train(), LONGEST) is None) == (method not in MIXING)
    if method not in MIXING:
        assert differ(model.eval()) < 1e-5


def test_other_attention_is_told_by_the_places(adapted):
    model, _ = adapted("llama", Full())
    model.set_attn_implementation("eager")
    try:
        assert together(model, LONGEST) is None
        assert differ(model) < 1e-5
    finally:
        model.set_attn_implementation("sdpa")


@pytest.mark.parametrize(
    ("facts", "limited"),
    [
        ({"model_type": "mistral", "sliding_window": 16}, "sliding_window"),
        ({"model_type": "phimoe", "sliding_window": 16, "num_local_experts": 4}, "sliding_window"),
        ({"model_type": "llama4_text", "attention_chunk_size": 16, "num_local_experts": 2}, "attention_chunk_size"),
        ({"model_type": "olmoe", "hidden_size": 256, "head_dim": 64, "num_experts": 8}, ""),
    ],
    ids=lambda facts: facts["model_type"] if isinstance(facts, dict) else "",
)
def test_rows_longer_than_what_a_token_sees_are_refused(facts, limited):
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 320, "head_dim": 16}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    ends = {"pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1}
    torch.manual_seed(0)
    config = AutoConfig.for_model(**sizes | heads | ends | facts)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    assert together(model, 16) is None
    found = together(model, 17)
    if limited:
        assert found == (
            f"train.packing: a row has 17 tokens, and the model's {limited} is 16; "
            "model.attention=eager may keep them apart"
        )
        model.set_attn_implementation("eager")
    assert together(model, 17) is None


def test_no_row_tells_the_first_token_of_the_next():
    batch = Pack()([{"input_ids": [5, 6], "labels": [5, 6]}] * 2)
    assert batch["labels"].tolist() == [[-100, 6, -100, 6]]


def test_a_model_is_left_as_it_was(adapted):
    model, _ = adapted("llama", Lora())
    assert together(model.train(), LONGEST) is None
    assert all(module.training for module in model.modules())
    model.eval()
    with pytest.raises(NotTold, match="where rows end"), packed(model, True):
        model(input_ids=torch.full((1, 4), 5))
    assert model.get_base_model().config._attn_implementation == "sdpa"


def test_what_a_run_is_refused_for():
    run = Run(Dpo(), task=Task(preferences=True), budget=Budget(steps=1), train=Train(packing=True))
    assert run.errors() == ["train.packing is of single answers, and method=dpo learns from pairs"]
    info = ModelInfo("tiny", "llama", 64, 2, 320, False, "cpu")
    assert unpackable(replace(run, method=Lora()), info) is None
    assert "method=prompt puts its virtual tokens" in unpackable(replace(run, method=Prompt()), info)
    assert unpackable(replace(run, method=Lora()), replace(info, kind="classifier"))


def test_a_run_keeps_its_id_unless_rows_are_packed():
    run = Run(Lora())
    other = replace(run, train=replace(run.train, packing=True))
    assert "packing" not in run.identity()["train"]
    assert run.run_id() != other.run_id()
    assert from_dict(to_dict(other)) == other


def test_memory_and_time_are_predicted_of_it():
    runs = [to_dict(Run(Lora(), train=Train(packing=packing))) for packing in (False, True)]
    padded, own = (trace(question(run, Workload(4, 16, 24), "cpu", "float32")) for run in runs)
    assert (padded.tokens, own.tokens) == (61, 61)
    assert 0.9 < own.allocated_bytes / padded.allocated_bytes < 1.1


def test_batches_are_predicted_without_padding():
    rows = Dataset.from_list(ROWS)
    run = Run(Lora(), train=Train(batch_size=2, packing=True))
    found = workload(run, rows, 2)
    assert (found.mean_tokens, found.longest_tokens, found.padded) == (7, 10, False)

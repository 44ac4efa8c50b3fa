"""The named models: built from the facts of their YAML, without a network, they have the published size."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM

from bench.config import Model
from bench.models import kinds
from bench.models.config import from_facts, plan
from bench.models.families import FAMILIES
from bench.models.load import info
from bench.paths import conf_dir

LABELS = ("no", "maybe", "yes")
PUBLISHED = {
    "bert-base": 109_482_240,
    "bloom-560m": 559_214_592,
    "falcon-7b": 6_921_720_704,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b": 3_880_263_168,  # the text part of 4,300,079,472
    "glm-4-9b": 9_399_951_360,
    "gpt-j-6b": 6_050_882_784,
    "gpt-neox-20b": 20_554_567_680,
    "gpt2": 124_439_808,
    "gpt2-large": 774_030_080,
    "gpt2-medium": 354_823_168,
    "gpt2-xl": 1_557_611_200,
    "llama-2-13b": 13_015_864_320,
    "llama-2-7b": 6_738_415_616,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "mistral-7b": 7_248_023_552,
    "mt0-base": 582_401_280,
    "opt-1.3b": 1_315_758_080,
    "opt-125m": 125_239_296,
    "opt-2.7b": 2_651_596_800,
    "opt-350m": 331_196_416,
    "opt-6.7b": 6_658_473_984,
    "phi-3-mini": 3_821_079_552,
    "pythia-1.4b": 1_414_647_808,
    "pythia-12b": 11_846_072_320,
    "pythia-160m": 162_322_944,
    "pythia-1b": 1_011_781_632,
    "pythia-2.8b": 2_775_208_960,
    "pythia-410m": 405_334_016,
    "pythia-6.9b": 6_857_302_016,
    "pythia-70m": 70_426_624,
    "qwen2.5-0.5b": 494_032_768,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "roberta-base": 124_645_632,
    "rwkv-4-169m": 169_342_464,
    "t5-base": 222_903_552,
    "t5-small": 60_506_624,
}


def named(name: str) -> Model:
    return Model(**OmegaConf.to_container(OmegaConf.load(conf_dir() / "model" / f"{name}.yaml")))  # type: ignore[arg-type]


def test_every_named_model_has_facts_and_a_published_size():
    with_facts = {file.stem for file in (conf_dir() / "model").glob("*.yaml") if "architecture:" in file.read_text()}
    assert with_facts == PUBLISHED.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_has_the_published_number_of_parameters(name: str):
    model = named(name)
    assert model.errors() == []
    planned = plan(model, facts=True, labels=LABELS)
    with torch.device("meta"):
        built = kinds.build(planned, torch.bfloat16)
    assert {parameter.dtype for parameter in built.parameters()} == {torch.bfloat16}
    expected = PUBLISHED[name]
    if (
        planned.kind == "classifier"
    ):  # the published count has no head; BERT's pooler in it is a layer of RoBERTa's head
        expected += len(LABELS) * (planned.config.hidden_size + 1)
    assert sum(parameter.numel() for parameter in built.parameters()) == expected


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_is_described_without_a_network_and_its_family_is_tested(name: str):
    model = named(name)
    found = info(model, "cpu")
    assert (found.architecture, found.kind) in {(family.architecture, family.kind) for family in FAMILIES.values()}
    assert (found.name, found.gradient_checkpointing) == (name, False)
    assert f"{PUBLISHED[name]:,} parameters" in (conf_dir() / "model" / f"{name}.yaml").read_text().splitlines()[0]


def test_sizes_are_those_that_a_method_sees():
    found = info(named("t5-base"), "cpu")
    assert (found.kind, found.hidden_size, found.layers, found.vocabulary) == ("seq2seq", 768, 12, 32128)
    found = info(named("gemma-3-4b"), "cpu")
    assert (found.architecture, found.hidden_size, found.layers) == ("gemma3_text", 2560, 34)


def test_gemma_3_4b_is_the_published_model_less_its_vision():
    with torch.device("meta"):
        whole = AutoModelForCausalLM.from_config(from_facts(named("gemma-3-4b").architecture))
    assert sum(parameter.numel() for parameter in whole.parameters()) == 4_300_079_472


def test_the_hub_choice_leaves_the_path_to_the_user():
    assert Path(conf_dir() / "model" / "hub.yaml").read_text().splitlines()[1:] == ["name: hub", "path: ''"]

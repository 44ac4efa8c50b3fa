"""Kinds: how one is told, what a classifier's head needs, and what transformers alone would get wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, BertConfig

from bench.config import Model
from bench.method import Context, Method, Quantization, discover
from bench.models import checkpoint
from bench.models.config import from_facts, kind_of
from bench.models.families import FAMILIES
from bench.models.load import info, load
from bench.models.tiny import TEXT, tiny_model

LABELS = (" no", " yes", " perhaps")
F32 = torch.float32


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Model] = {}

    def make(name: str) -> Model:
        if name not in made:
            facts = FAMILIES[name]
            folder = tiny_model(tmp_path_factory.mktemp("family"), name)
            made[name] = Model(name="tiny", path=folder, kind=facts.kind, attention=facts.attention)
        return made[name]

    return make


def told(kind: str = "auto", **config: object) -> str:
    return kind_of(Model(path="o/m", kind=kind), AutoConfig.for_model(**config))


def test_the_kind_is_told_from_the_configuration():
    assert told(model_type="llama") == told(model_type="rwkv") == "causal"
    assert told(model_type="t5") == told(model_type="mt5") == told(model_type="bart") == "seq2seq"
    encoders = ("bert", "roberta", "distilbert", "deberta-v2", "modernbert", "electra")
    assert {told(model_type=name) for name in encoders} == {"classifier"}
    assert told(model_type="bert", is_decoder=True) == "causal"
    assert told(model_type="llama", architectures=["LlamaForSequenceClassification"]) == "classifier"
    assert told("classifier", model_type="gpt2") == "classifier"


@pytest.mark.parametrize(
    ("kind", "architecture", "message"),
    [
        ("auto", "clip", "model.path: o/m is a clip, which cannot be loaded as a decoder-only language model"),
        ("auto", "whisper", "model.path: o/m is a whisper, which cannot be loaded as an encoder-decoder"),
        ("causal", "bert", "model.kind=causal: o/m is a bert, which cannot be loaded as a decoder-only language model"),
        ("causal", "t5", "model.kind=causal: o/m is a t5, which cannot be loaded as a decoder-only language model"),
        ("seq2seq", "llama", "model.kind=seq2seq: o/m is a llama, which cannot be loaded as an encoder-decoder"),
        ("classifier", "rwkv", "model.kind=classifier: o/m is a rwkv, which cannot be loaded as a classifier"),
    ],
)
def test_a_kind_that_the_architecture_does_not_have_is_refused(kind: str, architecture: str, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        told(kind, model_type=architecture)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"model_type": "lama"}, "transformers knows no model_type 'lama'; did you mean 'llama'?"),
        ({"model_type": "chatglm"}, "transformers knows no model_type 'chatglm'; did you mean 'glm'?"),
        ({"model_type": "llama", "hiden_size": 3}, "a llama has no 'hiden_size'; did you mean 'hidden_size'?"),
        ({"model_type": "llama", "vocab_size": "a"}, "Field 'vocab_size' expected int, got str (value: 'a')"),
        (
            {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 3},
            "The hidden size (64) is not a multiple of the number of attention heads (3).",
        ),
    ],
)
def test_wrong_facts_are_refused(facts: dict[str, Any], message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        from_facts(facts)
    assert str(caught.value) == f"model.architecture: {message}"


def test_a_fact_of_the_published_configuration_that_has_no_default_is_kept():
    assert from_facts({"model_type": "t5", "decoder_start_token_id": 0}).decoder_start_token_id == 0


def test_a_classifier_is_loaded_for_the_classes_of_the_task(family):
    model, tokenizer = load(family("bert"), "cpu", None, F32, LABELS)
    assert model.config.id2label == {0: "no", 1: "yes", 2: "perhaps"}
    assert model.config.problem_type == "single_label_classification"
    ids = tokenizer("Return it")["input_ids"]
    assert [ids[0], ids[-1]] == [tokenizer.cls_token_id, tokenizer.sep_token_id]
    assert model.config.pad_token_id == tokenizer.pad_token_id
    with pytest.raises(
        ValueError, match=r"^model\.kind: tiny is a classifier and needs a task with two classes or more$"
    ):
        load(family("bert"), "cpu", None, F32, LABELS[:1])


@pytest.mark.parametrize("name", ["bert", "roberta", "llama, classifier"])
def test_a_new_head_is_the_same_for_every_seed_and_method(name: str, family):
    heads = []
    for seed, quantization in ((1, None), (2, None), (3, Quantization())):
        torch.manual_seed(seed)
        model = load(family(name), "cpu", quantization, F32, LABELS)[0]  # three classes where two were saved
        heads.append({n: p for n, p in model.named_parameters() if n.startswith(("classifier", "score"))})
        assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(seed)))
    for other in heads[1:]:
        assert all(
            torch.equal(weight, other[key]) and weight.any() for key, weight in heads[0].items() if "bias" not in key
        )
    assert any(p.std() > 0 for p in heads[0].values())


def test_the_head_is_float32_on_a_bfloat16_base(family):
    model, tokenizer = load(family("roberta"), "cpu", None, torch.bfloat16, LABELS)
    assert {n.startswith("classifier"): p.dtype for n, p in model.named_parameters()} == {
        False: torch.bfloat16,
        True: F32,
    }
    assert model(**tokenizer("Return it", return_tensors="pt")).logits.dtype == F32


@pytest.mark.parametrize("method", ["full", "lora", "qlora", "prefix", "prompt", "ptuning"])
@pytest.mark.parametrize("name", ["llama, classifier", "gpt2, classifier", "bert"])
def test_padding_does_not_change_a_class(name: str, method: str, family):
    adapted = _adapted(family(name), discover()[method]())
    ids = torch.arange(40, 50)[None]
    padded = torch.cat([ids, torch.ones(1, 6, dtype=torch.long)], 1)
    mask = torch.cat([torch.ones_like(ids), torch.zeros(1, 6, dtype=torch.long)], 1)
    with torch.no_grad():
        alone = adapted(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        beside = adapted(input_ids=padded, attention_mask=mask).logits
    torch.testing.assert_close(alone, beside, atol=1e-5, rtol=0)


def test_a_text_that_ends_in_the_padding_token_is_read_to_its_end(family):
    adapted = _adapted(family("llama, classifier"), discover()["lora"]())
    ids, other = torch.tensor([[40, 41, 42, 1, 1]]), torch.tensor([[40, 41, 42, 1, 7]])
    mask = torch.tensor([[1, 1, 1, 1, 0]])
    with torch.no_grad():
        adapted(input_ids=ids[:, :2], attention_mask=mask[:, :2])
        read = [adapted(input_ids=row, attention_mask=mask).logits for row in (ids, other)]
        shorter = adapted(input_ids=ids[:, :3], attention_mask=mask[:, :3]).logits
    torch.testing.assert_close(read[0], read[1])
    assert not torch.allclose(read[0], shorter, atol=1e-3)


def _adapted(settings: Model, method: Method) -> Any:
    model, tokenizer = load(settings, "cpu", method.quantization(), F32, LABELS)
    torch.manual_seed(0)
    return method.adapt(model, Context(info(settings, "cpu"), tokenizer, TEXT[0], TEXT[1:])).eval()


@pytest.mark.parametrize("method", ["lora", "qlora", "prefix", "prompt", "ptuning"])
@pytest.mark.parametrize("name", ["roberta", "llama, classifier"])
def test_the_head_trains_beside_an_adapter_at_its_own_rate(name: str, method: str, family):
    adapted = _adapted(family(name), discover()[method]())
    training = {n: p for n, p in adapted.named_parameters() if p.requires_grad}
    head = {n for n in training if "classifier.modules_to_save" in n or "score.modules_to_save" in n}
    assert head
    assert not any("lora" in n and ("classifier" in n or "score" in n) for n in training)
    rest, own = discover()[method]().param_groups(adapted)  # type: ignore[misc]
    assert "lr" not in rest
    assert own["lr"] == 3e-3
    assert {id(p) for p in own["params"]} == {id(training[n]) for n in head}
    assert len(rest["params"]) + len(own["params"]) == len(training)


def test_methods_on_a_language_model_have_one_learning_rate(family):
    for method in ("lora", "prefix", "prompt", "ptuning"):
        assert discover()[method]().param_groups(_adapted(family("llama"), discover()[method]())) is None


def test_a_soft_prompt_has_no_second_row_on_an_encoder_decoder(family):
    adapted = _adapted(family("t5"), discover()["prompt"](virtual_tokens=5))  # type: ignore[call-arg]
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == 5 * 64


def test_mt5_s_head_is_its_own_where_the_facts_say_so(family):
    facts = FAMILIES["mt5"].facts
    tied = Model(name="m", weights="random", architecture=dict(facts, vocab_size=2048, tie_word_embeddings=True))
    own = Model(name="m", weights="random", architecture=dict(facts, vocab_size=2048))
    sizes = []
    for settings in (tied, own):
        model, tokenizer = load(settings, "cpu", None, F32)
        sizes.append(sum(p.numel() for p in model.parameters()))
        assert tokenizer("Return it")["input_ids"][-1] == tokenizer.eos_token_id
    assert sizes[1] - sizes[0] == 2048 * 64
    loaded, _ = load(family("mt5"), "cpu", None, F32)
    assert loaded.get_output_embeddings().weight is not loaded.get_input_embeddings().weight


def test_the_text_part_of_a_multimodal_model_is_loaded_with_its_weights(tiny_llama: str, tmp_path: Path):
    text = dict(FAMILIES["gemma3"].facts)
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model(
        "gemma3", text_config=text, vision_config={**vision, "image_size": 28, "patch_size": 14}
    )
    whole = AutoModelForCausalLM.from_config(config, dtype=F32).eval()
    whole.save_pretrained(tmp_path)
    for file in Path(tiny_llama).glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = Model(name="tiny", path=str(tmp_path))
    assert info(settings, "cpu").architecture == "gemma3_text"
    loaded, tokenizer = load(settings, "cpu", None, F32)
    assert type(loaded).__name__ == "Gemma3ForCausalLM"
    ids = torch.arange(40, 60)[None]
    with torch.no_grad():
        expected = whole(input_ids=ids).logits
        torch.testing.assert_close(loaded.eval()(input_ids=ids).logits, expected)
        full = discover()["full"]()
        context = Context(info(settings, "cpu"), tokenizer, "")
        checkpoint.save(full.adapt(loaded, context), tmp_path / "trained")
        base, _ = load(settings, "cpu", None, F32)
        again = checkpoint.reload(base, tmp_path / "trained", full, context)
        torch.testing.assert_close(again.eval()(input_ids=ids).logits, expected)


def test_rwkv_is_the_same_in_training_and_evaluation(family):
    facts = dict(FAMILIES["rwkv"].facts, vocab_size=2048, num_hidden_layers=7)
    settings = Model(name="deep", weights="random", architecture=facts, attention="eager", dtype="float32")
    model, _ = load(settings, "cpu", None, F32)
    ids = torch.arange(40, 60)[None]
    weights = [p.clone() for p in model.parameters()]
    with torch.no_grad():
        trained = model.train()(input_ids=ids).logits
        torch.testing.assert_close(model.eval()(input_ids=ids).logits, trained)
    assert all(torch.equal(before, after) for before, after in zip(weights, model.parameters(), strict=True))


def test_a_head_for_other_classes_is_new_and_the_rest_is_kept(family, tmp_path: Path):
    source = Path(family("bert").path)
    two = AutoModelForSequenceClassification.from_pretrained(source)
    three, _ = load(family("bert"), "cpu", None, F32, LABELS)
    assert torch.equal(two.bert.pooler.dense.weight, three.bert.pooler.dense.weight)
    same, _ = load(family("bert"), "cpu", None, F32, LABELS[:2])
    assert torch.equal(two.classifier.weight, same.classifier.weight)


def test_weights_that_are_missing_are_said(family, tmp_path: Path):
    folder = tmp_path / "m"
    tiny_model(folder, "bert")
    BertConfig.from_pretrained(folder, num_hidden_layers=3).save_pretrained(folder)
    with pytest.raises(
        ValueError, match=r"^model\.path: .* lacks 16 of its weights, such as bert\.encoder\.layer\.2\."
    ):
        load(replace(family("bert"), path=str(folder)), "cpu", None, F32, LABELS)

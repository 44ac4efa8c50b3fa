"""A base model's configuration and kind, without its weights and, from stated facts, without a network."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PretrainedConfig
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from bench.config import Model
from bench.models.locate import reporting, resolve, source

BUILT_AS = {
    "causal": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "classifier": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "seq2seq": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
}
CALLED = {"causal": "a decoder-only language model", "classifier": "a classifier", "seq2seq": "an encoder-decoder"}

# Architectures that state a number of places and yet read on, and those that count places from the padding's on.
ENDLESS = ("jamba", "nemotron_h", "pegasus_x", "rwkv", "zamba")
AFTER_PADDING = (
    "camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is to be built or loaded for a `Model`, told from a configuration alone."""

    model: Model
    config: PretrainedConfig
    kind: str
    encoder: bool  # an encoder alone, as BERT
    text_part: bool  # of a multimodal model


def plan(model: Model, facts: bool, labels: Sequence[str] = ()) -> Plan:
    """Plan a model.

    Args:
        model: which one.
        facts: take `model.architecture` where it is stated, and ask no network.
        labels: the classes of a classifier.

    Raises:
        ValueError: there is no such model or architecture, or none of the kind that is asked for.
    """
    if facts and model.architecture:
        config = from_facts(model.architecture)
    else:
        with reporting(model):
            config = AutoConfig.from_pretrained(resolve(model.path), **source(model))
    kind = kind_of(model, config)
    text = config.get_text_config()
    text_part = text is not config and text.model_type in BUILT_AS[kind]
    return Plan(model, _prepared(text if text_part else config, kind, labels), kind, is_encoder(config), text_part)


def from_facts(facts: Mapping[str, Any]) -> PretrainedConfig:
    """The configuration for `model.architecture`, without any network.

    Raises:
        ValueError: transformers knows no such `model_type`, or the architecture no such fact, or not this value of it.
    """
    sizes = dict(facts)
    architecture = sizes.pop("model_type")
    if architecture not in CONFIG_MAPPING_NAMES:
        meant = _nearest(architecture, CONFIG_MAPPING_NAMES, 0.6)
        raise ValueError(f"model.architecture: transformers knows no model_type {architecture!r}{meant}")
    try:
        config, default = AutoConfig.for_model(architecture, **sizes), AutoConfig.for_model(architecture)
    except StrictDataclassError as error:
        raise ValueError(f"model.architecture: {str(error).rpartition('Error: ')[2]}") from error
    # transformers keeps any key; one that it has no default for may still be right, but not if it is nearly a known one
    for key in sorted(set(vars(config)) - set(vars(default))):
        meant = _nearest(key, vars(default), 0.9)
        if meant:
            raise ValueError(f"model.architecture: a {architecture} has no {key!r}{meant}")
    return config


def _nearest(word: str, known: Iterable[str], cutoff: float) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""


def kind_of(model: Model, config: PretrainedConfig) -> str:
    """The kind of a base model: `model.kind`, or told from its configuration.

    Raises:
        ValueError: transformers cannot build that kind of model from this architecture.
    """
    kind = model.kind
    if kind == "auto":
        classifies = any(name.endswith("ForSequenceClassification") for name in config.architectures or ())
        if config.is_encoder_decoder:
            kind = "seq2seq"
        else:
            kind = "classifier" if classifies or is_encoder(config) else "causal"
    custom = bool(getattr(config, "auto_map", None))
    known = config.model_type in BUILT_AS[kind] and not (kind == "causal" and is_encoder(config))
    if not (custom or known):
        key = "model.path" if model.kind == "auto" else f"model.kind={kind}"
        raise ValueError(f"{key}: {model.path} is a {config.model_type}, which cannot be loaded as {CALLED[kind]}")
    return kind


def is_encoder(config: PretrainedConfig) -> bool:
    """Whether the architecture reads in both directions and has no decoder, as BERT."""
    masked = config.model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return masked and not config.is_encoder_decoder and not getattr(config, "is_decoder", False)


def _prepared(config: PretrainedConfig, kind: str, labels: Sequence[str]) -> PretrainedConfig:
    if hasattr(config, "rescale_every"):
        # RWKV would halve its weights in place for every evaluation, adapters left out; only float16 needs that
        config.rescale_every = 0
    if kind == "seq2seq" and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = config.pad_token_id
    if kind == "classifier":
        config.num_labels = len(labels)
        config.id2label = {i: label.strip() for i, label in enumerate(labels)}
        config.label2id = {label: i for i, label in config.id2label.items()}
        config.problem_type = "single_label_classification"
    return config


def positions(config: PretrainedConfig) -> int:
    """Tokens of the longest input that the architecture has places for; 0 where places are relative or rotary."""
    most = getattr(config, "max_position_embeddings", None) or 0
    rotary = hasattr(config, "rope_parameters") or getattr(config, "position_embedding_type", "") == "rotary"
    relative = not getattr(config, "position_biased_input", True)  # DeBERTa
    if rotary or relative or config.model_type in ENDLESS:
        return 0
    return max(0, most - (config.pad_token_id + 1 if config.model_type in AFTER_PADDING else 0))

"""The tokenizer of a base model, padded on the right, and one to stand in where nothing is downloaded."""

from typing import Any

from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from bench.models.config import Plan
from bench.models.locate import reporting, resolve, resolve_tokenizer, resolve_whole

STAND_IN = "embedded:tiny-llama"  # its ids fit any larger vocabulary


def load_tokenizer(planned: Plan) -> PreTrainedTokenizerBase:
    """`model.tokenizer`, else that of `model.path`; for an architecture with random weights the embedded one.

    Raises:
        ValueError: there is no such tokenizer, it is empty, it has no token to pad with or more tokens than the model.
    """
    model, size = planned.model, planned.config.vocab_size
    settings: dict[str, Any] = {"padding_side": "right", "trust_remote_code": model.trust_remote_code}
    if model.bare() and not model.tokenizer:
        tokenizer = stand_in(planned)
        if len(tokenizer) > size:
            raise ValueError(f"model.tokenizer: {STAND_IN} has {len(tokenizer)} tokens, and {model.name} only {size}")
        return tokenizer
    key, where = ("model.tokenizer", model.tokenizer) if model.tokenizer else ("model.path", model.path)
    with reporting(model):
        if model.tokenizer:
            tokenizer = AutoTokenizer.from_pretrained(resolve_tokenizer(where), **settings)
        else:
            tokenizer = AutoTokenizer.from_pretrained(resolve_whole(where), revision=model.revision, **settings)
    if (
        len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) < 2
    ):  # T5's has a white space even when empty
        raise ValueError(f"{key}: the tokenizer of {where} is empty; name another with model.tokenizer")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise ValueError(f"{key}: the tokenizer of {where} has no token to pad with")
    if model.tokenizer and len(tokenizer) > size:  # a model's own may have tokens that are never made
        raise ValueError(
            f"model.tokenizer: {model.tokenizer} has {len(tokenizer)} tokens, and {model.name} only {size}"
        )
    return tokenizer


def stand_in(planned: Plan) -> PreTrainedTokenizerBase:
    """The embedded tokenizer with the ends that this kind of model expects."""
    tokenizer = AutoTokenizer.from_pretrained(resolve(STAND_IN), padding_side="right")
    mark_ends(tokenizer, planned.kind, planned.encoder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def mark_ends(tokenizer: Any, kind: str, encoder: bool) -> None:
    """Let a tokenizer put around a text what its kind of model expects: begin and end of an encoder's, T5's end."""
    begin, end = tokenizer.bos_token, tokenizer.eos_token
    if encoder:
        tokenizer.cls_token, tokenizer.sep_token = begin, end
        template = f"{begin} $A {end}"
    elif kind == "seq2seq":
        template = f"$A {end}"
    else:
        return
    ids = {begin: tokenizer.bos_token_id, end: tokenizer.eos_token_id}
    around = TemplateProcessing(single=template, special_tokens=list(ids.items()))
    tokenizer.backend_tokenizer.post_processor = around

"""Log-probabilities of labels and of classes, with logits computed only where a label is.

Most positions of a batch carry no label (the prompt, the padding), and the output head is the largest layer of
a small model and the largest activation of any model with a large vocabulary. A hook on the head keeps the
labelled positions alone; what a model does to its logits afterwards (soft-capping, scaling) is untouched, and
so the values are the same as with full logits. Where those are still many, they are computed piece by piece
(`bench.models.chunks`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from bench.data.tokens import IGNORED
from bench.models import chunks


def inner_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside wrappers, peft's and those for several processes, or the model itself.

    Adapters in its layers stay active.
    """
    inner: Any = model
    while not isinstance(inner, PreTrainedModel | PeftModel) and isinstance(getattr(inner, "module", None), nn.Module):
        inner = inner.module
    return cast(PreTrainedModel, inner.get_base_model() if isinstance(inner, PeftModel) else inner)


@contextmanager
def logits_only_at(model: nn.Module, keep: Tensor) -> Iterator[None]:
    """Inside the block a forward returns logits [kept, vocabulary] of the positions in `keep` [batch, length].

    Soft prompts lengthen the sequence on the left; `keep` counts without them.
    """
    with _selecting(model, keep, lambda hidden: hidden):
        yield


@contextmanager
def _selecting(model: nn.Module, keep: Tensor, seen: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """The head gets what `seen` makes of the hidden states [kept, hidden]."""

    def select(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *others = arguments
        virtual = hidden.shape[1] - keep.shape[1]
        return (seen(hidden[:, virtual:][keep]), *others)

    handle = inner_model(model).get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


def label_log_probs(model: nn.Module, batch: dict[str, Tensor], full: bool = False) -> Tensor:
    """Log-probability of every labelled token, [labels], in the order of rows and positions.

    Args:
        model: a causal or a seq2seq language model, with or without an adapter.
        batch: `input_ids` and `attention_mask` [batch, length] and `labels`, as `bench.data.tokens` makes them:
            as long as the input for a causal model, of any length for the decoder of a seq2seq one; or a packed
            batch of `bench.train.packing`.
        full: compute the logits of all positions first, as transformers itself does.
    """
    if inner_model(model).config.is_encoder_decoder:
        return _decoder_log_probs(model, batch, full)
    labelled = batch["labels"][:, 1:] != IGNORED
    targets = batch["labels"][:, 1:][labelled]
    keep = nn.functional.pad(labelled, (0, 1))  # the token at t+1 is predicted at t; the last position predicts nothing
    # no mask of the padding: it is on the right, where no token looks, and attention without a mask is faster
    told = {name: batch[name] for name in ("position_ids", "rows") if name in batch}  # where rows are packed
    inputs = {"input_ids": batch["input_ids"], "use_cache": False} | told
    return _log_probs(model, inputs, keep, targets, full)


def _decoder_log_probs(model: nn.Module, batch: dict[str, Tensor], full: bool) -> Tensor:
    labels = batch["labels"]
    inputs = {
        "input_ids": batch["input_ids"],
        "attention_mask": batch["attention_mask"],
        "decoder_input_ids": decoder_inputs(model, labels),
        "use_cache": False,
    }
    keep = labels != IGNORED
    return _log_probs(model, inputs, keep, labels[keep], full)


def decoder_inputs(model: nn.Module, labels: Tensor) -> Tensor:
    """What the decoder of a seq2seq model reads to predict `labels` [batch, length]: its start token, then they."""
    config = inner_model(model).config
    shifted = labels.roll(1, dims=1)
    shifted[:, 0] = config.decoder_start_token_id
    return shifted.masked_fill(shifted == IGNORED, config.pad_token_id)


def _log_probs(model: nn.Module, inputs: dict[str, Any], keep: Tensor, targets: Tensor, full: bool) -> Tensor:
    """Of `targets` [kept], where `keep` is set; in one go where several processes may each have a part of the head."""
    inner = inner_model(model)
    pieces = len(targets) > chunks.positions(inner.config.vocab_size) and not torch.distributed.is_initialized()
    if full or not pieces:
        return -cross_entropy(_logits(model, inputs, keep, full), targets, reduction="none")
    found: list[Tensor] = []

    def take(hidden: Tensor) -> Tensor:
        found.append(hidden)
        return hidden[:0]

    with _selecting(model, keep, take):
        model(**inputs)
    return chunks.log_probs(found[0], targets, inner.get_output_embeddings(), inner.config)


def _logits(model: nn.Module, inputs: dict[str, Any], keep: Tensor, full: bool) -> Tensor:
    """Logits [kept, vocabulary] in float32; soft prompts lengthen a causal model's sequence on the left."""
    if not full:
        with logits_only_at(model, keep):
            return model(**inputs).logits.float()
    logits = model(**inputs).logits
    return logits[:, logits.shape[1] - keep.shape[1] :][keep].float()


def class_log_probs(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Log-probability of every class, [batch, classes], from `input_ids` and `attention_mask` [batch, length]."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return logits.float().log_softmax(-1)


def completion_log_probs(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Summed log-probability of each row's labelled tokens, [batch]."""
    log_probs = label_log_probs(model, batch)
    first = 0 if inner_model(model).config.is_encoder_decoder else 1  # a causal row's first token is not predicted
    counts = (batch["labels"][:, first:] != IGNORED).sum(dim=1)
    rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    return torch.zeros(len(counts), device=counts.device).index_add(0, rows, log_probs)

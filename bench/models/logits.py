"""Log-probabilities of labels, with logits computed only where a label is.

Most positions of a batch carry no label (the prompt, the padding), and the output head is the largest layer of
a small model and the largest activation of any model with a large vocabulary. A hook on the head keeps the
labelled positions alone; what a model does to its logits afterwards (soft-capping, scaling) is untouched, and
so the values are the same as with full logits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from bench.data.tokens import IGNORED


def inner_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside a peft wrapper, adapters in its layers staying active, or the model itself."""
    return cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)


@contextmanager
def logits_only_at(model: nn.Module, keep: Tensor) -> Iterator[None]:
    """Inside the block a forward returns logits [kept, vocabulary] of the positions in `keep` [batch, length].

    Soft prompts lengthen the sequence on the left; `keep` counts without them.
    """

    def select(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *others = arguments
        virtual = hidden.shape[1] - keep.shape[1]
        return (hidden[:, virtual:][keep], *others)

    handle = inner_model(model).get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


def label_log_probs(model: nn.Module, batch: dict[str, Tensor], full: bool = False) -> Tensor:
    """Log-probability of every labelled token, [labels], in the order of rows and positions.

    Args:
        model: a causal language model, with or without an adapter.
        batch: `input_ids`, `attention_mask`, `labels`, each [batch, length]; labels as `bench.data.tokens` makes them.
        full: compute the logits of all positions first, as transformers itself does.
    """
    labelled = batch["labels"][:, 1:] != IGNORED
    targets = batch["labels"][:, 1:][labelled]
    keep = nn.functional.pad(labelled, (0, 1))  # the token at t+1 is predicted at t; the last position predicts nothing
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "use_cache": False}
    if full:
        logits = model(**inputs).logits
        logits = logits[:, logits.shape[1] - keep.shape[1] :][keep]
    else:
        with logits_only_at(model, keep):
            logits = model(**inputs).logits
    return -cross_entropy(logits.float(), targets, reduction="none")


def completion_log_probs(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Summed log-probability of each row's labelled tokens, [batch]."""
    log_probs = label_log_probs(model, batch)
    counts = (batch["labels"][:, 1:] != IGNORED).sum(dim=1)
    rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    return torch.zeros(len(counts), device=counts.device).index_add(0, rows, log_probs)

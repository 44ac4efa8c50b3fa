"""Rows laid end to end instead of one below the other: a batch without padding, in which each row attends to itself.

Attention by torch's `scaled_dot_product_attention` would need a mask as large as the square of a batch's tokens; here
it is computed row by row without one. Other implementations are told by the places, which begin anew with every row.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from bench.data.tokens import IGNORED
from bench.models.logits import inner_model, label_log_probs

ATTENTION = "sdpa_row_by_row"
HINT = "; model.attention=eager may keep them apart"
UNTOLD = f"train.packing: the model does not tell its attention where rows end{HINT}"
SHORT = 8  # tokens of a row with which a model is tried
ROUNDING, ROUNDING_16 = 1e-4, 0.1  # of a log-probability, on average, where the same is computed in another way


class NotTold(ValueError):
    """Attention does not know where a row ends."""


@dataclass(frozen=True)
class Rows:
    """How many tokens each row of a batch has."""

    lengths: tuple[int, ...]


class Pack:
    """Collate rows of `input_ids` and `labels` to tensors [1, tokens], one row behind the other."""

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
        """The batch, with the place of every token in its row, and the rows' lengths."""
        lengths = [len(row["input_ids"]) for row in rows]
        ids = [token for row in rows for token in row["input_ids"]]
        labels = [label for row in rows for label in (IGNORED, *row["labels"][1:])]  # no row tells the next one's first
        return {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones(1, len(ids), dtype=torch.int64),
            "labels": torch.tensor([labels]),
            "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
            "rows": Rows(tuple(lengths)),
        }


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    rows: Rows | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers has it, [batch, heads, tokens, width], of each row by itself."""
    if rows is None:
        raise NotTold(UNTOLD)
    if query.shape[2] != sum(rows.lengths) or key.shape[2] != sum(rows.lengths):
        raise NotTold("train.packing: the method puts virtual tokens in front of the first row alone")
    parts = zip(*(tensor.split(rows.lengths, dim=2) for tensor in (query, key, value)), strict=True)
    found = [sdpa_attention_forward(module, *part, attention_mask=None, **options)[0] for part in parts]
    return torch.cat(found, dim=1), None


@contextmanager
def packed(model: nn.Module, packing: bool) -> Iterator[None]:
    """Inside the block the model takes batches as `Pack` makes them, if there is packing."""
    inner = inner_model(model)
    before = inner.config._attn_implementation
    if not packing or before != "sdpa":
        yield
        return
    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, lambda *_, **__: None)
    inner.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        inner.set_attn_implementation(before)


def together(model: nn.Module, longest: int) -> str | None:
    """None, or the reason why rows laid end to end are not apart in a model, as the method has adapted it.

    What it says of a row may not change with the row before it, nor differ from what it says of that row alone.

    Args:
        model: causal; it is tried without dropout.
        longest: tokens of the longest row.
    """
    inner = inner_model(model)
    if not any(each.kind is each.VAR_KEYWORD for each in signature(inner.forward).parameters.values()):
        return UNTOLD
    if inner.config._attn_implementation == "sdpa" and (reason := _beyond(inner.config, longest)):
        return reason
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return None if _apart(model, longest) else f"train.packing: a row depends on the one before it{HINT}"
    except NotTold as error:
        return str(error)
    finally:
        model.train(training)


def _apart(model: nn.Module, longest: int) -> bool:
    inner = inner_model(model)
    first, other, short, long = (
        [(start + 37 * i) % inner.config.vocab_size for i in range(length)]
        for start, length in ((5, SHORT), (6, SHORT), (7, SHORT), (8, longest))
    )
    alone = _log_probs(model, long)
    with packed(model, True):
        change = _log_probs(model, first, short) - _log_probs(model, other, short)
        error = _log_probs(model, first, long) - alone
    rounding = ROUNDING if inner.dtype == torch.float32 else ROUNDING_16
    return float(change.abs().mean()) < ROUNDING and float(error.abs().mean()) < rounding


def _beyond(config: Any, longest: int) -> str | None:
    """Whether there are rows of which a token would see more than the model lets it see, in words."""
    for key in ("sliding_window", "attention_chunk_size"):
        limit = getattr(config, key, None)
        if limit and longest > limit:
            return f"train.packing: a row has {longest} tokens, and the model's {key} is {limit}{HINT}"
    return None


def _log_probs(model: nn.Module, *rows: list[int]) -> Tensor:
    """Of the tokens of the last row but its first, [tokens]."""
    device = next(model.parameters()).device
    batch = Pack()([{"input_ids": ids, "labels": ids} for ids in rows])
    told = batch | {key: value.to(device) for key, value in batch.items() if isinstance(value, Tensor)}
    if len(rows) == 1:
        del told["rows"]
    return label_log_probs(model, told)[1 - len(rows[-1]) :].float()

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
UNTOLD = "train.packing: the model does not tell its attention where a row ends"
TRIED, LENGTH = (5, 6), 8  # tokens, and how many, of rows with which a model is tried


@dataclass(frozen=True)
class Rows:
    """How many tokens each row of a batch has."""

    lengths: tuple[int, ...]


class Pack:
    """Collate rows of `input_ids` and `labels` to tensors [1, tokens], one row behind the other."""

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
        """The batch, with the place of every token in its row, and the rows' lengths."""
        lengths = [len(row["input_ids"]) for row in rows]
        ids, labels = ([token for row in rows for token in row[key]] for key in ("input_ids", "labels"))
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
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers has it, [batch, heads, tokens, width], of each row by itself."""
    if rows is None:
        raise ValueError(UNTOLD)
    if query.shape[2] != sum(rows.lengths) or key.shape[2] != sum(rows.lengths):
        raise ValueError("train.packing: the method puts virtual tokens in front of the first row alone")
    if sliding_window and max(rows.lengths) > sliding_window:
        raise ValueError(
            f"train.packing: a row has {max(rows.lengths)} tokens, more than the {sliding_window} of the model's window"
        )
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


def together(model: nn.Module) -> str | None:
    """None, or the reason why rows laid end to end are not apart in a model, as the method has adapted it.

    It reads one row behind another, and behind yet another; what it says of the one may not differ by a bit.
    """
    if getattr(inner_model(model).config, "attention_chunk_size", None):
        return "train.packing: the model attends in chunks, which begin anew with no row"
    if not any(each.kind is each.VAR_KEYWORD for each in signature(inner_model(model).forward).parameters.values()):
        return UNTOLD
    device, found = next(model.parameters()).device, []
    try:
        with packed(model, True), torch.no_grad():
            for token in TRIED:
                rows = [{"input_ids": [each] * LENGTH, "labels": [IGNORED] * LENGTH} for each in (token, TRIED[0])]
                rows[1]["labels"] = [IGNORED] + [TRIED[0]] * (LENGTH - 1)
                batch = {
                    key: value.to(device) if isinstance(value, Tensor) else value for key, value in Pack()(rows).items()
                }
                with torch.random.fork_rng():
                    torch.manual_seed(0)  # the same dropout
                    found.append(label_log_probs(model, batch))
    except ValueError as error:
        return str(error)
    return None if torch.equal(*found) else "train.packing: with this method on this model a row sees those before it"

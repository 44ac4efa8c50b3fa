"""Loss on held-out general text: what a fine-tuned model still knows of everything else."""

from typing import Any

import torch
from torch import Tensor, nn

from bench.data.tokens import PadRight, Tokens, training_row
from bench.evaluate.batches import Room, in_batches
from bench.models.logits import inner_model, label_log_probs

WINDOW = 256  # tokens read at once


@torch.no_grad()
def general_loss(
    model: nn.Module, tokenizer: Any, text: str, tokens: int, room: Room, kind: str = "causal"
) -> float | None:
    """Mean loss in nats per token over about `tokens` tokens of `text`, taken evenly from all of it.

    A causal model reads whole windows; a seq2seq model writes the second half of a window after reading the first.

    Args:
        model: a base model, with or without an adapter; it is left in evaluation mode.
        tokenizer: of the base model.
        text: any.
        tokens: how many of them to read.
        room: for how many windows at once.
        kind: of the model.

    Returns:
        None for a classifier, which writes no text.

    Raises:
        ValueError: the text is shorter than one window.
        MemoryError: a single window does not fit.
    """
    if kind == "classifier":
        return None
    model.eval()
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    windows = [ids[start : start + WINDOW] for start in range(0, len(ids) - WINDOW, WINDOW)]
    if not windows:
        raise ValueError(f"data.general must have more than {WINDOW} tokens, got {len(ids)}")
    stride = max(1, len(windows) * WINDOW // tokens)
    chosen = windows[::stride][: max(1, tokens // WINDOW)]
    collate, device = PadRight(tokenizer.pad_token_id), inner_model(model).device
    losses: dict[int, Tensor] = {}

    def score(some: list[int]) -> None:
        batch = collate([_row(chosen[i], kind) for i in some])
        found = -label_log_probs(model, {key: value.to(device) for key, value in batch.items()})
        losses.update(zip(some, found.split(len(found) // len(some)), strict=True))

    in_batches([WINDOW] * len(chosen), room, score)
    return float(torch.cat([losses[i] for i in range(len(chosen))]).mean())


def _row(ids: list[int], kind: str) -> dict[str, list[int]]:
    if kind == "seq2seq":
        return training_row(Tokens(ids[: WINDOW // 2], ids[WINDOW // 2 :]), kind)
    return {"input_ids": ids, "labels": ids}

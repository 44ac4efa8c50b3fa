"""Loss on held-out general text: what a fine-tuned model still knows of everything else."""

from typing import Any

import torch
from torch import nn

from bench.data import stdlib
from bench.data.tokens import PadRight
from bench.models.logits import inner_model, label_log_probs

_WINDOW = 256


@torch.no_grad()
def general_loss(model: nn.Module, tokenizer: Any, tokens: int, batch_size: int) -> float:
    """Mean loss in nats per token over about `tokens` tokens of `stdlib.general_text`, taken evenly from all of it."""
    model.eval()
    ids = tokenizer(stdlib.general_text(), add_special_tokens=False, verbose=False)["input_ids"]
    windows = [ids[start : start + _WINDOW] for start in range(0, len(ids) - _WINDOW, _WINDOW)]
    stride = max(1, len(windows) * _WINDOW // tokens)
    chosen = windows[::stride][: max(1, tokens // _WINDOW)]
    collate, device = PadRight(tokenizer.pad_token_id), inner_model(model).device
    losses = []
    for start in range(0, len(chosen), batch_size):
        batch = collate([{"input_ids": row, "labels": row} for row in chosen[start : start + batch_size]])
        losses.append(-label_log_probs(model, {key: value.to(device) for key, value in batch.items()}))
    return float(torch.cat(losses).mean())

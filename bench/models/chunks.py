"""Log-probabilities of labels piece by piece, where all logits at once would be the largest thing in memory.

With 32 thousand tokens or more in the vocabulary the logits of a batch, their float32 copy, their softmax and their
gradient outweigh a small model. Here a few hundred positions have logits at a time. Where the head does not train, the
derivative of each log-probability by its hidden state, which does not depend on the loss, is taken on the spot, so
nothing is computed twice; where it trains, the logits are computed again on the way back.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

ELEMENTS = 2**23  # logits at once: 32 MiB in float32
LEAST = 256  # positions at once, fewer than which leave a GPU idle
Logits = Callable[[Tensor], Tensor]


def positions(vocabulary: int) -> int:
    """How many positions have logits at a time."""
    return max(LEAST, ELEMENTS // vocabulary)


def logits_of(head: nn.Module, config: Any) -> Logits:
    """What a model makes of hidden states: its head, and what some families do to the logits then.

    Gemma 2 and 3 cap them softly, Cohere and Granite scale them.
    """
    cap = getattr(config, "final_logit_softcapping", None)
    factor = getattr(config, "logit_scale", None) or 1.0
    divisor = getattr(config, "logits_scaling", None) or 1.0

    def compute(hidden: Tensor) -> Tensor:
        logits = head(hidden)
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
        if (factor, divisor) != (1.0, 1.0):
            logits = logits * (factor / divisor)
        return logits

    return compute


def log_probs(hidden: Tensor, targets: Tensor, head: nn.Module, config: Any) -> Tensor:
    """Log-probability of each target, [positions].

    Args:
        hidden: what the head is given, [positions, hidden].
        targets: token ids, [positions].
        head: gives logits, [positions, vocabulary].
        config: of the model.
    """
    logits, size = logits_of(head, config), positions(config.vocab_size)
    if not any(parameter.requires_grad for parameter in head.parameters()):
        return _Frozen.apply(hidden, targets, logits, size)

    def again(part: Tensor, wanted: Tensor) -> Tensor:
        return _log_probs(logits(part), wanted)

    parts = zip(hidden.split(size), targets.split(size), strict=True)
    return torch.cat([checkpoint(again, part, wanted, use_reentrant=False) for part, wanted in parts])


def _log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    return -cross_entropy(logits.float(), targets, reduction="none")


class _Frozen(torch.autograd.Function):
    """As above, for a head that does not train."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, logits: Logits, size: int) -> Tensor:
        """Values, and with them their derivatives by `hidden`."""
        found, slopes = [], []
        for piece, wanted in zip(hidden.split(size), targets.split(size), strict=True):
            part = piece.detach().requires_grad_(ctx.needs_input_grad[0])
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                values = _log_probs(logits(part), wanted)
                total = values.sum()
            if ctx.needs_input_grad[0]:
                slopes += torch.autograd.grad(total, part)
            found.append(values.detach())
        if slopes:
            ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """The chain rule."""
        (slopes,) = ctx.saved_tensors
        return (gradients[0][:, None] * slopes).to(slopes.dtype), None, None, None

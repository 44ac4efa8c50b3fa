"""How long to train, and the learning rate on the way: both follow the share of the budget that is spent."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from bench.config import Budget, Train

ENDLESS = 1_000_000_000  # steps; a budget in seconds ends by the clock


def total_steps(budget: Budget, lengths: Sequence[int] | np.ndarray, batch_size: int) -> int | None:
    """Optimizer steps that a budget stands for, or None if the clock decides.

    Args:
        budget: exactly one of its limits is set.
        lengths: non-padding tokens of each training row.
        batch_size: rows per optimizer step.
    """
    if budget.seconds:
        return None
    if budget.tokens:
        return math.ceil(budget.tokens / (batch_size * int(np.sum(lengths)) / len(lengths)))
    if budget.epochs:
        return math.ceil(budget.epochs * math.ceil(len(lengths) / batch_size))
    return budget.steps


def rate(progress: float, train: Train) -> float:
    """Learning-rate factor at a share of the budget in [0, 1]: linear warm-up, then the schedule down to zero."""
    if progress < train.warmup:
        return progress / train.warmup
    rest = min(1.0, (progress - train.warmup) / (1 - train.warmup))
    if train.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * rest))
    return 1 - rest if train.schedule == "linear" else 1.0


def scheduler(
    optimizer: torch.optim.Optimizer, train: Train, progress: Callable[[int], float]
) -> torch.optim.lr_scheduler.LambdaLR:
    """A scheduler whose n-th step takes the rate at `progress(n)`."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(progress(step), train))

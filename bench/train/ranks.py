"""The processes that train one run together: how many, and which one this is. Alone, it is the first of one."""

import os

import torch
from torch import Tensor, distributed


def rank() -> int:
    """Number of this process; the first one, 0, evaluates and writes the record."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """Number of this process on its machine, and of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def sharded() -> bool:
    """Whether no process has the whole model, so that all of them must compute whatever any of them does."""
    return "true" in (os.environ.get("ACCELERATE_USE_FSDP"), os.environ.get("ACCELERATE_USE_DEEPSPEED"))


def total(values: Tensor) -> Tensor:
    """The sum of `values`, of any shape, over all processes; every process must ask for it."""
    if world() > 1:
        distributed.all_reduce(values)
    return values


def of_first(value: float, device: str) -> float:
    """The first process's `value`, in all of them."""
    if world() == 1:
        return value
    return float(total(torch.tensor([value if rank() == 0 else 0.0], device=device)))

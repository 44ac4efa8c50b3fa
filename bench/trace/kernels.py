"""What a CUDA device would do where a CPU does something else: attention kernels and autocast.

The tensors of a trace lie on the CPU, since a torch without CUDA makes no others, not even fake ones.
"""

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional

aten = torch.ops.aten
ALIGNED = 8  # elements that a row of a mask is padded to, for the memory-efficient kernel
# What autocast on CUDA computes in float32 and autocast on a CPU does not (torch's documentation of autocast).
FLOAT32 = (
    (functional, ("layer_norm", "group_norm", "softmax", "log_softmax", "softplus", "cosine_similarity")),
    (torch, ("layer_norm", "softmax", "log_softmax", "pow", "rsqrt", "exp", "log", "cumsum", "sum", "norm")),
    (Tensor, ("softmax", "log_softmax", "pow", "rsqrt", "exp", "log", "cumsum", "sum", "norm")),
)


@contextmanager
def as_on(device: str) -> Iterator[None]:
    """Inside the block computations take the kernels of `device`: `cuda` or `cpu`."""
    if device != "cuda":
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(patch.object(functional, "scaled_dot_product_attention", attention))
        for place, names in FLOAT32:
            for name in names:
                stack.enter_context(patch.object(place, name, _in_float32(getattr(place, name))))
        yield


def _in_float32(function: Any) -> Any:
    """The function as autocast on CUDA calls it. A mode of torch's would not reach what is recomputed backwards."""

    @functools.wraps(function)
    def cast(*args: Any, **kwargs: Any) -> Any:
        if torch.is_autocast_enabled("cpu"):
            args = tuple(a.float() if isinstance(a, Tensor) and a.is_floating_point() else a for a in args)
        return function(*args, **kwargs)

    return cast


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Scaled dot-product attention as torch's dispatcher on CUDA carries it out [batch, heads, length, width].

    In half precision without a mask that is the flash kernel, else the memory-efficient one.
    """
    if torch.is_autocast_enabled("cpu"):
        lower = torch.get_autocast_dtype("cpu")
        query, key, value = (each.to(lower) for each in (query, key, value))
    if attn_mask is None and query.dtype in (torch.bfloat16, torch.float16):
        return aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, scale=scale)[0]
    if enable_gqa and key.shape[1] != query.shape[1]:
        times = query.shape[1] // key.shape[1]
        key, value = (each.repeat_interleave(times, dim=1) for each in (key, value))
    bias = None if attn_mask is None else _bias(attn_mask, query, key)
    return aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, torch.is_grad_enabled(), dropout_p, is_causal, scale=scale
    )[0]


def _bias(mask: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """What the kernel adds to the scores: a mask of truth values as numbers, its rows padded, for all heads."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), float("-inf"))
    elif mask.dtype != query.dtype:
        mask = mask.to(query.dtype)
    length = mask.shape[-1]
    if length % ALIGNED:
        mask = functional.pad(mask, (0, ALIGNED - length % ALIGNED))[..., :length]
    return mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])


def workspace(func: Any, args: Any) -> int:
    """Bytes that an operation takes for itself while it works: 4-bit weights are unpacked for a product."""
    if func.namespace == "bitsandbytes" and func.__name__.startswith("gemm_4bit"):
        return int(args[2][0] * args[2][1] * args[0].element_size())
    return 0

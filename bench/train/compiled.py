"""Compile a model's layers for the time of its training.

Each of the repeated layers by itself, not the model: they share a graph, which is compiled in a fraction of the time,
and what is around them (adapters' prompts, the loss, its pieces of logits) stays as it is. Where a method gives every
layer something of its own, as prefix tuning does, each has a graph.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate.utils.other import is_repeated_blocks
from torch import nn

from bench.method import did_you_mean

GRAPHS = 4  # of a layer, at most: with and without a gradient of its input, with and without a mask


def unknown(backend: str) -> str | None:
    """None, or that torch has no such backend; for asking before a model is loaded."""
    if not backend:  # as in nearly every run; looking for backends takes half a second
        return None
    known = torch._dynamo.list_backends(exclude_tags=())
    if backend in known:
        return None
    return f"train.compile: torch has no backend {backend!r}{did_you_mean(backend, known)}"


@contextmanager
def compiled(model: nn.Module, backend: str) -> Iterator[None]:
    """Inside the block the layers run as `torch.compile` has made them, for rows of any length.

    Args:
        model: whose layers are a `ModuleList` of one class, as those of transformers are.
        backend: of `torch.compile`; "": they run as they are.

    Raises:
        ValueError: there is no such backend, or there are no layers.
    """
    if not backend:
        yield
        return
    reason = unknown(backend)
    if reason is not None:
        raise ValueError(reason)
    blocks = _layers(model)
    if not blocks:
        raise ValueError("train.compile: the model has no repeated layers")
    for block in blocks:
        block.compile(backend=backend, dynamic=True)
    try:
        with torch._dynamo.config.patch(recompile_limit=GRAPHS * len(blocks)):  # or the rest would not be compiled
            yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None
        torch.compiler.reset()


def _layers(model: nn.Module) -> list[nn.Module]:
    """The outermost of the modules that are repeated."""
    found: list[nn.Module] = []
    for child in model.children():
        found += child if is_repeated_blocks(child) and len(child) > 1 else _layers(child)  # type: ignore[arg-type]
    return found

"""Reasons why a run cannot be done; each is the record's reason. All but the last are found before loading."""

from collections.abc import Mapping
from typing import Any

from bench.config import Run
from bench.evaluate.forgetting import WINDOW
from bench.evaluate.scores import decoding
from bench.method import Method, ModelInfo


class Unsupported(Exception):
    """A run that cannot be done here, and why."""


def too_long(run: Run, info: ModelInfo, kind: str) -> str | None:
    """None, or the reason why the model has no places for the task's rows with all that is put around them.

    That is virtual tokens in front, and the generated answer behind; an encoder-decoder has places of their own for
    answers. `kind` is that of the task: "auto" where its rows are not read yet.
    """
    extra, longest = getattr(run.method, "virtual_tokens", 0), run.task.max_length
    written = 0
    if info.kind != "classifier" and kind != "auto":
        written = decoding(run.task, kind).get("max_new_tokens", 0)
    places = max(longest, written) if info.kind == "seq2seq" else longest + written
    if not info.positions or places + extra <= info.positions:
        return None
    answer = f", task.max_new_tokens={written}" if written else ""
    front = f" and {extra} virtual tokens" if extra else ""
    return f"{info.name} has {info.positions} positions, too few for task.max_length={longest}{answer}{front}"


def undeclared(method: Method, base: Mapping[int, str], adapted: Any) -> str | None:
    """None, or in words which weight of the base a method trains without saying so.

    Args:
        method: which one.
        base: the names of the base's weights by their identity, before the method saw them.
        adapted: what `adapt` returned.
    """
    found = [base[id(p)] for p in adapted.parameters() if p.requires_grad and id(p) in base]
    if not found or method.trains_base_weights():
        return None
    return f"expected the base to be frozen, as trains_base_weights() says, saw {found[0]} train"


def stored_otherwise(run: Run, info: ModelInfo) -> str | None:
    """None, or the reason why the method cannot use the weights as the checkpoint has them, quantised already."""
    if not info.quantised or run.method is None:
        return None
    if run.method.trains_base_weights():
        return (
            f"the weights of {info.name} are quantised already ({info.quantised}), and method={run.title()} trains them"
        )
    if run.method.quantization() is not None:
        stored = f"the weights of {info.name} are quantised already ({info.quantised})"
        return f"{stored}, and method={run.title()} would quantise them; use the method on weights as they are"
    return None


def unpackable(run: Run, info: ModelInfo) -> str | None:
    """None, or the reason why the run's rows cannot be laid end to end; see `bench.train.packing`."""
    if not run.train.packing or run.method is None:
        return None
    if info.kind != "causal":
        return f"train.packing is of causal models, and {info.name} is a {info.kind}"
    if getattr(run.method, "virtual_tokens", 0):
        return f"train.packing: method={run.title()} puts its virtual tokens in front of the first row alone"
    return None


def unsharded(run: Run, device: str) -> str | None:
    """None, or the reason why accelerate cannot shard the model here."""
    if device != "cuda":
        return "accelerate shards models (FSDP, DeepSpeed) on GPUs alone"
    if run.train.save_every:
        return "train.save_every cannot save a sharded model (FSDP, DeepSpeed)"
    return None


def too_few_for_general_text(run: Run, info: ModelInfo) -> str | None:
    """None, or the reason why the model has no places for the windows of text in which forgetting is measured."""
    extra = getattr(run.method, "virtual_tokens", 0)
    places = (WINDOW // 2 if info.kind == "seq2seq" else WINDOW) + extra
    if not run.measure.forgetting or info.kind == "classifier" or not info.positions:
        return None
    if places <= info.positions:
        return None
    return f"{info.name} has {info.positions} positions, too few for the windows of measure.forgetting, {places}"

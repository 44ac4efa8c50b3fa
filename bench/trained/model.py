"""A trained model from its run's weights: the base with what was trained on top, or both as one model."""

from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from bench.config import Run
from bench.data import tasks
from bench.method import Context, ModelInfo
from bench.models import checkpoint, load
from bench.trained.find import Finished

TEXT = "Answer the question.", ("What is it? It is this.",)  # for a method's `adapt`, whose values are then replaced


def base_dtype(run: Run, device: str) -> torch.dtype:
    """That the frozen weights of the run had on a device; base weights that train are float32."""
    trains = run.method is not None and run.method.trains_base_weights()
    return torch.float32 if trains else load.default_dtype(run.model.dtype, device)


def labels_of(run: Run, info: ModelInfo) -> tuple[str, ...]:
    """The classes of a classifier, from the run's data; the other kinds have none.

    Raises:
        ValueError: the data cannot be read.
    """
    return tasks.load(run.task, run.data).choices if info.kind == "classifier" else ()


def base(run: Run, device: str, dtype: torch.dtype, quantised: bool = True) -> tuple[PreTrainedModel, Any]:
    """The untouched base model of a run, stored as its method wants it, and the tokenizer."""
    quantization = run.method.quantization() if quantised and run.method is not None else None
    return load.load(run.model, device, quantization, dtype, labels_of(run, load.info(run.model, device)))


def tuned(found: Finished, device: str, dtype: torch.dtype, quantised: bool = True) -> tuple[torch.nn.Module, Any]:
    """The trained model in evaluation mode, and its tokenizer.

    Args:
        found: the run.
        device: "cpu", "cuda" or "mps".
        dtype: of all weights that are not quantised.
        quantised: store the base as it was in training; else it stays as it is.

    Raises:
        ValueError: the base or the weights cannot be loaded.
    """
    run = found.run
    if found.is_model:
        labels = labels_of(run, load.info(run.model, device))
        model, tokenizer = load.load(run.model, device, None, dtype, labels, trained=found.weights)
        return model.eval(), tokenizer
    model, tokenizer = base(run, device, dtype, quantised)
    return on(model, tokenizer, found), tokenizer


def on(model: PreTrainedModel, tokenizer: Any, found: Finished) -> torch.nn.Module:
    """The base model with what the run trained beside its weights, in evaluation mode."""
    info = load.info(found.run.model, model.device.type)
    return checkpoint.reload(model, found.weights, found.method, Context(info, tokenizer, *TEXT)).eval()


def merged(found: Finished, device: str, dtype: torch.dtype) -> tuple[PreTrainedModel, Any]:
    """The trained model as one of the base's architecture, with nothing beside it, and its tokenizer.

    What was trained on a quantised base is added to the base as it is published, whose weights have not been rounded.

    Raises:
        ValueError: the method cannot be merged.
    """
    name = found.method.title()
    if not found.method.mergeable():
        raise ValueError(f"{name} cannot be merged into the base: what it trains has no place among the base's weights")
    model, tokenizer = tuned(found, device, dtype, quantised=False)
    if isinstance(model, PeftModel):
        model = model.merge_and_unload(safe_merge=True)
    if not isinstance(model, PreTrainedModel):
        raise ValueError(f"{name} cannot be merged by tunebench: it wraps the model in a {type(model).__name__}")
    with torch.device("meta"):
        plain = {name for name, _ in type(model)(model.config).named_parameters()}
    beside = sorted({name for name, _ in model.named_parameters()} - plain)
    if beside:
        raise ValueError(f"{name} cannot be merged by tunebench: it keeps weights of its own, such as {beside[0]}")
    return model.requires_grad_(False), tokenizer

"""Clauses about what becomes of a trained model: saved, merged, asked for text, and predicted by the advisor."""

import tempfile
from typing import Any

import torch
from torch import Tensor

from bench.contract import fresh
from bench.contract.case import Case, logits
from bench.contract.outcome import Unsupported, clause
from bench.contract.trained import EXACT, distance
from bench.method import Method
from bench.models.families import TRIED
from bench.models.load import parameters
from bench.models.tiny import tiny_model

NEW_TOKENS = 8
NEARLY = 0.1  # share by which the parameters of a trace may differ
MERGED = 1e-4  # of the logits' size: the largest difference that merging may make
ROUNDED = 2  # times the change of logits by quantising, that merging into 4 or 8 bits may add


@clause("adapt")
def reload_same(case: Case) -> str | None:
    """Saved and put back on a fresh base in another process, it computes the same logits."""
    files = list(case.saved.glob("*.safetensors"))
    if not sum(file.stat().st_size for file in files):
        return f"expected a checkpoint with weights, saw {[file.name for file in files]}"
    there = fresh.ask(logits, case.method, case.model, case.saved).result()
    off = distance(case.logits(case.trained.model), there)
    return (
        None if off <= EXACT else f"expected the same logits after saving and reloading, saw them differ by {off:.2g}"
    )


@clause("mergeable")
def merging(case: Case) -> str | None:
    """Where the method is mergeable, one model of the base's architecture computes the same; else none can be made.

    As `mergeable()` speaks of every model that the method supports, one kind on which it cannot be merged is enough.
    """
    wrong = _unlike(case)
    if case.method.mergeable():
        return wrong
    if wrong is not None:
        raise Unsupported("mergeable() says that something stays beside the model")
    for family in TRIED:
        with tempfile.TemporaryDirectory() as folder:
            if _stays_beside(case.method, tiny_model(folder, family)):
                raise Unsupported(f"mergeable() is false since on a tiny {family} something stays beside the model")
    return "expected mergeable() to say that it can be merged, as merging gives the same logits; saw False"


def _stays_beside(method: Method, model: str) -> bool:
    """Whether the method trains on a model and cannot be merged into it."""
    try:
        case = Case(method, model)
        _ = case.saved
    except Exception:  # it does not support the model, or another clause says there what is wrong
        return False
    return _unlike(case) is not None


def _unlike(case: Case) -> str | None:
    """None if the trained model can be merged and is the same, else what was expected and seen."""
    try:
        merged = merge(case)
    except Exception as error:  # whatever a library that cannot merge raises
        return f"expected merge_and_unload() as mergeable() says, saw {type(error).__name__}: {error}"
    return _not_the_same(case, merged)


def merge(case: Case) -> Any:
    """The trained model, reloaded, as one model.

    Raises:
        Exception: what the library raises that cannot do it.
    """
    model = case.reload(case.saved)
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def _not_the_same(case: Case, merged: Any) -> str | None:
    base, _ = case.base()
    extra = {name for name, _ in merged.named_parameters()} - {name for name, _ in base.named_parameters()}
    if extra:
        return f"expected one model with the base's parameters alone, saw {min(extra)} beside them"
    expected, seen = case.logits(case.trained.model), case.logits(merged)
    off, scale = distance(seen, expected), max(1.0, expected.abs().max().item())
    if case.method.quantization() is not None:  # the base is rounded once more when it has taken the update up
        once = (case.logits(base) - case.logits(case.plain)).norm().item()
        again = (seen - expected).norm().item()
        said = f"expected merging to change logits about as much as quantising did, {once:.2g}, saw {again:.2g}"
        return None if again <= ROUNDED * once else said
    return None if off <= MERGED * scale else f"expected the same logits after merging, saw them differ by {off:.2g}"


@clause("adapt")
def generation(case: Case) -> str | None:
    """Greedy generation, which uses the cache, gives the tokens that the model chooses without one."""
    if case.info.kind == "classifier":
        raise Unsupported("a classifier writes nothing")
    model = case.trained.model.eval()
    start = case.batch["input_ids"][:1, :6]
    settings = {"do_sample": False, "max_new_tokens": NEW_TOKENS, "use_cache": True}
    with torch.no_grad():
        expected = _one_by_one(case, model, start)
        written = model.generate(input_ids=start, attention_mask=torch.ones_like(start), **settings)
    seen = written[0, 1 if case.info.kind == "seq2seq" else start.shape[1] :].tolist()
    if seen == expected:
        return None
    return f"expected generate() to give the tokens {expected} that the logits choose without a cache, saw {seen}"


def _one_by_one(case: Case, model: Any, start: Tensor) -> list[int]:
    config, mask = model.generation_config, torch.ones_like(start)
    written = torch.full((1, 1), config.decoder_start_token_id) if case.info.kind == "seq2seq" else start
    first = written.shape[1]
    for _ in range(NEW_TOKENS):
        if case.info.kind == "seq2seq":
            out = model(input_ids=start, attention_mask=mask, decoder_input_ids=written, use_cache=False)
        else:
            out = model(input_ids=written, attention_mask=torch.ones_like(written), use_cache=False)
        written = torch.cat([written, out.logits[:, -1:].argmax(-1)], 1)
        if written[0, -1] == config.eos_token_id:
            break
    return written[0, first:].tolist()


@clause("adapt")
def traceable(case: Case) -> str | None:
    """The advisor can trace it: adapted and trained on tensors without content, it has about as many parameters.

    Not just as many where a method reads data to share them out, which a trace does not have.
    """
    try:
        found = case.traced.result()
    except RuntimeError as error:
        return f"expected a trace, saw {error}"
    expected = parameters(case.trained.model).trainable
    if abs(found.trainable_parameters - expected) <= NEARLY * expected:
        return None
    return f"expected a trace with {expected} trainable parameters, as in earnest, saw {found.trainable_parameters}"

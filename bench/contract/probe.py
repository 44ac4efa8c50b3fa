"""Try what methods can do; `python -m bench.contract.probe [NAME ...]` writes `methods/capabilities.json`."""

import gc
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers.pytorch_utils import Conv1D

from bench.capabilities import Capabilities, known, path, write
from bench.contract.case import FEW, Case
from bench.contract.named import every, named
from bench.contract.outcome import Outcome
from bench.contract.trained import checkpointing
from bench.contract.used import merging
from bench.method import Method, Quantization
from bench.models.families import TRIED
from bench.models.kinds import heads
from bench.models.matrix import family_info
from bench.models.tiny import tiny_model
from bench.objective import of

BITS = (4, 8)


def probe(case: Case, seen: Mapping[str, Outcome] | None = None) -> Capabilities:
    """What a method can do, tried on the model of its case.

    Args:
        case: on the first family of TRIED that the method supports.
        seen: outcomes of clauses that were run already, by name.
    """
    seen = seen or {}
    kept = {c.__name__: (seen.get(c.__name__) or c(case)).word == "kept" for c in (merging, checkpointing)}
    return Capabilities(
        learns_from="pairs" if of(case.method).preferences else "answers",
        merges=kept["merging"],
        several=_works(_several, case),
        quantised=tuple(bits for bits in BITS if _works(_trains_on, case, bits)),
        recomputes=kept["checkpointing"],
        layers=tuple(sorted(layers(case))),
        not_on=refused(case.method),
    )


def refused(method: Method, families: Iterable[str] = TRIED) -> dict[str, str]:
    """The families that a method does not support, and why."""
    reasons = {family: method.supports(family_info(family)) for family in families}
    return {family: reason for family, reason in reasons.items() if reason is not None}


def _works(attempt: Any, *arguments: Any) -> bool:
    try:
        return bool(attempt(*arguments))
    except Exception:  # whatever a library raises that cannot do it
        return False


def _several(case: Case) -> bool:
    """Whether a second adapter can be loaded beside the first, be active, and leave the first as it was."""
    model = case.reload(case.saved)
    if not isinstance(model, PeftModel):
        return False
    first = case.logits(model)
    model.load_adapter(str(case.saved), "second")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "second" in name.split("."):
                parameter.add_(torch.randn_like(parameter))
    model.set_adapter("second")
    second = case.logits(model)
    model.set_adapter("default")
    return torch.equal(case.logits(model), first) and not torch.allclose(second, first)


def _trains_on(case: Case, bits: int) -> bool:
    """Whether a few steps on a base of so many bits have finite losses, a gradient, and leave the base quantised."""
    trained = case.train(case.run(steps=FEW), quantization=Quantization(bits=bits))
    finite = all(loss == loss and abs(loss) < float("inf") for loss in trained.losses)
    kept = any(not p.is_floating_point() for p in trained.model.parameters())
    return finite and kept and any(bool(gradient.any()) for gradient in trained.gradients.values())


def layers(case: Case) -> set[str]:
    """What of the base a method changes: kinds of its modules, or `input` for virtual tokens."""
    base, tokenizer = case.base()
    modules = dict(base.named_modules())
    own = {id(p): name for name, p in base.named_parameters()}
    head = heads(base) if case.info.kind == "classifier" else []
    model = case.method.adapt(base, case.context(tokenizer))
    found = set()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            place = own.get(id(parameter), name.removeprefix("base_model.model."))
            if place.split(".")[0] not in head:
                found.add(_kind(place, modules))
    prompts = isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning
    return (found - {""}) | ({"input"} if prompts else set())


def _kind(place: str, modules: Mapping[str, nn.Module]) -> str:
    """The kind of the innermost module of the base on the way to a parameter; empty where that is none of them."""
    parts = place.split(".")
    inner = next(
        (modules[".".join(parts[:n])] for n in range(len(parts) - 1, 0, -1) if ".".join(parts[:n]) in modules), None
    )
    if isinstance(inner, nn.Linear | Conv1D):
        return "linear"
    if isinstance(inner, nn.Embedding):
        return "embeddings"
    words = type(inner).__name__.lower()
    kinds = {"norm": "norms", "attention": "attention", "mlp": "feed-forward"}
    return next((kind for word, kind in kinds.items() if word in words), "")


def main(names: Sequence[str]) -> int:
    """Probe these methods and named variants, or all, and write what is found into the file.

    Raises:
        ValueError: there is no method of such a name.
    """
    warnings.filterwarnings("ignore")
    gc.collect()
    gc.freeze()  # every training collects garbage, for which the libraries' own objects need not be looked through
    there = every()
    found = {name: each for name, each in known().items() if name in there}
    with tempfile.TemporaryDirectory() as folder:
        places = {family: tiny_model(Path(folder) / family, family) for family in TRIED}
        for name in names or there:
            method = named(name)
            family = next((family for family in TRIED if family not in refused(method)), None)
            if family is None:
                print(f"{name} stays as it is: {refused(method)[TRIED[0]]}", file=sys.stderr)
                continue
            found[name] = probe(Case(method, places[family]))
            print(name, *found[name].cells(), sep=" | ", file=sys.stderr, flush=True)
            write(found)
    print(f"wrote {path()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

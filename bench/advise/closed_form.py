"""An instant estimate of the memory of a training where a trace is not to be had; less exact, and labelled so.

What is known exactly is counted: weights, gradients and the optimizer's state, and the inputs of layers that are
computed again. What activations and logits take is
linear in the tokens of a batch, with coefficients that were fitted to traces of small models, apart for activations
that are kept and those that are computed again. `python -m tests.advise.fit_closed_form` fits them.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.advise.memory import Estimate
from bench.advise.sizes import architecture, sizes
from bench.advise.trace import Question
from bench.config.run import from_dict
from bench.method import Method
from bench.objective import of

FITTED = Path(__file__).parent / "closed_form.json"
PACKED = {4: 0.516, 8: 1.0}  # bytes of a weight of so many bits with its scales, those of 4 quantised too
WORKSPACE = 8519680  # bytes that torch keeps for cuBLAS
STATES = 16  # bytes of a trained weight with its gradient and two moments, in float32
UNGATED = ("gpt2", "gpt_neo", "gpt_neox", "gptj", "bloom", "falcon", "opt", "phi", "bert", "roberta")


@dataclass(frozen=True)
class Terms:
    """What the peak is made of.

    Attributes:
        kind: of coefficients: activations are `kept` or `recomputed`.
        known: bytes that are counted.
        features: what the coefficients are multiplied with.
    """

    kind: str
    known: float
    features: tuple[float, ...]


def closed_form(question: Question) -> Estimate | None:
    """Peak of the bytes that are allocated on CUDA, with the interval of its errors on traces.

    Returns:
        None where the sizes of the model are not known, on other devices, or for another loop than the harness's own.
    """
    found = terms(question)
    fitted = _fitted().get(found.kind) if found is not None else None
    if found is None or fitted is None:
        return None
    value = found.known + sum(c * x for c, x in zip(fitted["coefficients"], found.features, strict=True))
    return Estimate(value, value * (1 - fitted["spread"]), value * (1 + fitted["spread"]))


def terms(question: Question) -> Terms | None:
    """The terms of a question; None if too little is known."""
    if question.device != "cuda" or "loop" in question.run:
        return None
    shape = sizes(question.run["model"])
    if shape is None:
        return None
    try:
        method = from_dict({"method": question.run["method"]}).method
    except (ValueError, TypeError, KeyError):
        return None
    assert method is not None
    hidden, layers, vocabulary = shape["hidden"], shape["layers"], shape["vocabulary"]
    facts = question.run["model"].get("architecture") or architecture(str(question.run["model"].get("path", "")))
    linear, embedded, inner = weights(facts, hidden, layers, vocabulary)
    workload = question.workload
    tokens = workload.rows * workload.longest_tokens * of(method).sequences
    loss = question.run["train"].get("loss")
    labels = tokens * (1.0 if loss == "full" else workload.labelled)
    again = bool(question.run["train"].get("gradient_checkpointing", False))
    return Terms(
        "recomputed" if again else "kept",
        WORKSPACE + _stored(method, linear, embedded) + (2 * tokens * layers * hidden if again else 0),
        (
            tokens * layers * hidden,
            tokens * inner * (1 if again else layers),
            labels * vocabulary,
            tokens * hidden,
            linear if method.trains_base_weights() else 0.0,  # copies in the precision of the computation
        ),
    )


def _stored(method: Method, linear: float, embedded: float) -> float:
    if method.trains_base_weights():
        return STATES * (linear + embedded)
    quantization = method.quantization()
    return (PACKED[quantization.bits] if quantization else 2) * linear + 2 * embedded


def weights(facts: dict[str, Any], hidden: int, layers: int, vocabulary: int) -> tuple[float, float, float]:
    """Weights in the layers' matrices, weights of the embeddings, and the width inside a layer's MLP."""
    heads = facts.get("num_attention_heads") or facts.get("n_head") or 1
    shared = facts.get("num_key_value_heads") or heads
    width = heads * (facts.get("head_dim") or hidden // heads)
    inner = facts.get("intermediate_size") or facts.get("n_inner") or 4 * hidden
    matrices = 2 if facts.get("model_type") in UNGATED else 3
    linear = layers * hidden * (2 * width + 2 * width * shared / heads + matrices * inner)
    return linear, vocabulary * hidden * (1 if facts.get("tie_word_embeddings", True) else 2), inner


@cache
def _fitted() -> dict[str, Any]:
    if not FITTED.exists():
        return {}
    found: dict[str, Any] = json.loads(FITTED.read_text(encoding="utf-8"))["kinds"]
    return found

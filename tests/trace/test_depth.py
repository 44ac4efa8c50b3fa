"""A trace of few layers, stretched to the model's depth, is in every figure that of the whole model."""

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest

from bench.advise.trace import Question, Trace, Workload
from bench.config import Model, Run
from bench.config.run import to_dict
from bench.method import discover, get
from bench.models.config import from_facts
from bench.models.families import FAMILIES
from bench.trace import depth
from bench.trace.training import trace

LAYERS, VOCABULARY = 9, 2048
QUICK = ("dpo", "full", "lora")  # the others are slow tests
# whose layers are not alike in a trace
WHOLE = {
    "adalora", "beft", "cartridge", "fourierft", "last-layers", "lily", "lisa", "llama-adapter", "lora-fa",
    "prefix", "rwkv", "shadow", "shira", "tinylora", "unilora", "vblora", "waveft",
}  # fmt: skip
PACKAGES = {"apollo": "apollo_torch", "galore": "galore_torch"}
METHODS = [name for name in sorted(discover()) if name not in PACKAGES or find_spec(PACKAGES[name])]
WORKLOAD = Workload(rows=2, mean_tokens=24, longest_tokens=40)
NAMES = ("num_hidden_layers", "n_layer")


def question(method: str, family: str, workload: Workload = WORKLOAD, **train: object) -> Question:
    """A run on CUDA of a method with its defaults on a small, deep model of a family."""
    found = FAMILIES[family]
    facts = found.facts | {"vocab_size": VOCABULARY} | {name: LAYERS for name in NAMES if name in found.facts}
    run = Run(get(method)(), Model("deep", kind=found.kind, architecture=facts, attention=found.attention))
    run.train = replace(run.train, batch_size=4, gradient_accumulation=2)
    run.train = replace(run.train, **train)
    return Question(to_dict(run), workload, "cuda")


def compare(monkeypatch: pytest.MonkeyPatch, asked: Question) -> bool:
    """Check the trace against that of the whole model; whether it was stretched."""
    made: list[Any] = []
    stretched = depth.stretched

    def watched(*arguments: Any) -> Any:
        made.append(stretched(*arguments))
        return made[-1]

    monkeypatch.setattr(depth, "stretched", watched)
    short = trace(asked)
    monkeypatch.setattr(depth, "WORTH", LAYERS + 1)
    whole = trace(asked)
    assert _figures(short) == _figures(whole)
    assert short.layers == LAYERS
    return bool(made)


def _figures(found: Trace) -> dict[str, Any]:
    """All of a trace; the order of operations means nothing."""
    return found.to_dict() | {"operations": sorted(map(repr, found.operations))}


@pytest.mark.parametrize(
    "method",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in METHODS],
)
def test_every_method(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    family = "gpt2" if method == "bitfit" else "llama"
    assert compare(monkeypatch, question(method, family)) == (method not in WHOLE)


@pytest.mark.parametrize(
    "method",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in METHODS],
)
def test_every_method_in_steps_of_one_length(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    alike = replace(WORKLOAD, mean_tokens=WORKLOAD.longest_tokens)
    family = "gpt2" if method == "bitfit" else "llama"
    assert compare(monkeypatch, question(method, family, alike)) == (method not in WHOLE)


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in METHODS if name not in WHOLE | {"bitfit"}])
def test_every_method_with_gradient_checkpointing(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    assert compare(monkeypatch, question(method, "llama", gradient_checkpointing=True))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "full"])
def test_without_padding(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    assert compare(monkeypatch, question(method, "llama", replace(WORKLOAD, padded=False, reference=False)))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize(
    "family", [f for f, it in FAMILIES.items() if it.architecture in depth.UNIFORM and f != "llama"]
)
def test_every_family_of_equal_layers(monkeypatch: pytest.MonkeyPatch, family: str, method: str) -> None:
    if (family, method) != ("mamba", "lora"):  # cannot be traced
        assert compare(monkeypatch, question(method, family)) == (family not in WHOLE)


def test_models_with_several_kinds_of_layers_are_traced_whole() -> None:
    facts = FAMILIES["qwen3"].facts | {"num_hidden_layers": 8}
    assert depth.uniform(from_facts(facts))
    mixed = {"layer_types": ["full_attention", "sliding_attention"] * 4, "use_sliding_window": True}
    assert not depth.uniform(from_facts(facts | mixed))
    assert not depth.uniform(from_facts(FAMILIES["gemma3"].facts))
    assert not depth.uniform(from_facts(FAMILIES["t5"].facts))


def test_what_differs_between_the_two_depths_is_not_stretched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, seen = question("lora", "llama"), []
    recorded = depth.recorded

    def broken(record: Any, *arguments: Any) -> Any:
        def other(layers: int, steps: int) -> Any:
            seen.append((layers, steps))
            found = record(layers, steps)
            if layers == depth.LONG:
                found[0].events[-1:] = []
                found[0].whose[-1:] = []
            return found

        return recorded(other, *arguments)

    monkeypatch.setattr(depth, "recorded", broken)
    assert trace(asked).layers == LAYERS
    assert seen == [(depth.LONG, 2), (depth.SHORT, 2), (LAYERS, 2)]

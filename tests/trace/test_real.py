"""A trace on tensors without content is, byte for byte, that of the same training in earnest on this CPU."""

import re
from dataclasses import replace

import pytest

from bench.advise.trace import NotTraceable, Question, Trace, Workload
from bench.config import Model, Run
from bench.config.run import to_dict
from bench.method import discover, get
from bench.models import chunks
from bench.models.families import FAMILIES
from bench.models.matrix import family_info
from bench.trace.training import trace

VOCABULARY = 2048  # that of the embedded tokenizer
QUICK = ("bert", "gemma3", "gpt2", "mamba", "t5")  # a family of each kind; the others are slow tests
COMMON = ("dpo", "full", "lora", "prefix", "prompt", "ptuning", "qlora")  # the contract traces the others too
WORKLOAD = Workload(rows=4, mean_tokens=32, longest_tokens=64)


def question(method: str, family: str, workload: Workload = WORKLOAD, **train: object) -> Question:
    """A run of a method with its defaults on a tiny model of a family, on a CPU."""
    found = FAMILIES[family]
    facts = found.facts | {"vocab_size": VOCABULARY}
    run = Run(get(method)(), Model("tiny", kind=found.kind, architecture=facts, attention=found.attention))
    run.train = replace(run.train, **{"precision": "float32", **train})
    return Question(to_dict(run), workload, "cpu")


def same(asked: Question) -> Trace:
    """The trace without content, which is checked against the one in earnest."""
    found, real = trace(asked), trace(asked, pretend=False)
    keys = (
        "live_bytes", "allocated_bytes", "reserved_bytes", "static_bytes", "breakdown", "checkpoint_bytes", "tokens",
    )  # fmt: skip
    assert {key: getattr(found, key) for key in keys} == {key: getattr(real, key) for key in keys}
    assert found.peak_operation == real.peak_operation
    products = [{(o.flops, o.bytes): o.count for o in each.operations if o.kind == "matmul"} for each in (found, real)]
    assert products[0] == products[1]
    assert found.live_bytes > found.static_bytes > 0
    return found


@pytest.mark.parametrize(
    ("method", "checkpointing"),
    [
        pytest.param(name, on, marks=[] if (name in COMMON and not on) or name == "lora" else pytest.mark.slow)
        for name in sorted(discover())
        for on in (False, True)
    ],
)
def test_every_method(method: str, checkpointing: bool) -> None:
    supports = discover()[method]().supports
    family = "llama" if supports(family_info("llama")) is None else "gpt2"  # for those that need biases
    asked = question(method, family, gradient_checkpointing=checkpointing)
    reason = supports(replace(family_info(family), gradient_checkpointing=checkpointing))
    if reason is not None:
        with pytest.raises(NotTraceable, match=re.escape(reason)):
            trace(asked)
        return
    same(asked)


@pytest.mark.parametrize("method", [pytest.param("full", marks=pytest.mark.slow), "lora"])
def test_logits_in_pieces(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "positions", lambda vocabulary: 16)
    pieces = same(question(method, "llama"))
    monkeypatch.undo()
    assert pieces.live_bytes < same(question(method, "llama")).live_bytes


@pytest.mark.parametrize(
    "family", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in sorted(FAMILIES)]
)
def test_every_family(family: str) -> None:
    asked = question("lora", family)
    if family == "mamba":  # its linear layers are read past the update beside them
        with pytest.raises(NotTraceable, match="uses the weights of its linear layers directly"):
            trace(asked)
        asked = question("full", family)
    same(asked)


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_layers_are_computed_again_as_they_were_on_cuda(family: str) -> None:
    """Their norms are in float32 there, in the backward pass too."""
    asked = replace(question("lora", family, gradient_checkpointing=True, precision="bfloat16"), device="cuda")
    assert trace(asked).allocated_bytes > 0


def test_batches_without_padding_and_with_all_logits() -> None:
    packed = same(question("lora", "llama", replace(WORKLOAD, padded=False)))
    whole = same(question("lora", "llama", replace(WORKLOAD, padded=False), loss="full"))
    assert whole.breakdown["logits"] > packed.breakdown["logits"]


@pytest.mark.slow
def test_micro_batches_beyond_the_second_add_time_and_no_memory() -> None:
    two, four = (same(question("lora", "llama", gradient_accumulation=n, batch_size=4 * n)) for n in (2, 4))
    assert four.live_bytes == two.live_bytes
    assert four.tokens == 2 * two.tokens

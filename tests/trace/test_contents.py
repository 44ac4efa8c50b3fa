"""What a trace tells a method of the data and the contents of tensors, and 8-bit weights in it."""

from dataclasses import replace

import pytest

from bench.advise.trace import Question, Workload
from bench.config import Budget, Model, Run
from bench.config.run import to_dict
from bench.method import Context
from bench.models.families import FAMILIES
from bench.trace.training import STEPS, trace
from methods.lora import Lora
from methods.qlora import Qlora


def question(method, family: str = "llama", **run: object) -> Question:
    found = FAMILIES[family]
    facts = found.facts | {"vocab_size": 2048}
    whole = Run(method, Model("tiny", kind=found.kind, architecture=facts, attention=found.attention))
    whole.train = replace(whole.train, precision="float32")
    return Question(to_dict(replace(whole, **run)), Workload(rows=2, mean_tokens=12, longest_tokens=16), "cpu")


@pytest.mark.parametrize("pretend", [True, False])
def test_a_trace_has_rows_and_steps_and_no_contents(pretend: bool, monkeypatch: pytest.MonkeyPatch):
    seen: list[Context] = []
    adapt = Lora.adapt
    monkeypatch.setattr(Lora, "adapt", lambda self, model, told: (seen.append(told), adapt(self, model, told))[1])
    for budget in (Budget(steps=7), Budget(epochs=1), Budget(seconds=1)):
        trace(question(Lora(), budget=budget), pretend)
    assert [told.steps for told in seen] == [7, STEPS, None]
    assert [told.contents for told in seen] == [False] * 3
    assert [len(row["input_ids"]) for row in seen[0].rows] == [12, 11]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_8_bits_are_traced_as_they_are(family: str):
    found, real = (trace(question(Qlora(bits=8), family), pretend) for pretend in (True, False))
    assert (found.live_bytes, found.static_bytes, found.breakdown) == (
        real.live_bytes, real.static_bytes, real.breakdown,
    )  # fmt: skip
    four, plain = trace(question(Qlora(), family)), trace(question(Lora(), family))
    assert four.breakdown["weights"] < found.breakdown["weights"] < plain.breakdown["weights"]
    assert found.total_parameters == plain.total_parameters

"""Layers that torch compiles for the training: the same losses, one graph for all, nothing left of it afterwards."""

from dataclasses import replace

import pytest
import torch

from bench.advise.questions import question
from bench.advise.trace import NotTraceable, Workload
from bench.config import Budget, Run, Train, to_dict
from bench.config.run import from_dict
from bench.trace.training import trace
from bench.train.compiled import compiled, unknown
from methods.dpo import Dpo
from methods.full import Full
from methods.lora import Lora
from methods.prefix import Prefix
from methods.prompt import Prompt


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (Lora(), {}),
        (Lora(), {"gradient_checkpointing": True}),
        (Full(), {"gradient_accumulation": 2}),
        (Prompt(), {}),
        (Prefix(), {}),
        (Dpo(), {}),
    ],
    ids=["lora", "checkpointing", "full", "prompt", "prefix", "dpo"],
)
def test_the_losses_are_the_same(method, settings, fit):
    plain, own = (fit(method, **settings, compile=backend) for backend in ("", "aot_eager"))
    assert own.losses == pytest.approx(plain.losses, abs=1e-4)
    assert own.losses[0] != own.losses[-1]
    assert not any(module._compiled_call_impl for module in own.model.modules())


def test_on_another_family(fit):
    plain, own = (fit(Full(), architecture="gpt2", compile=backend) for backend in ("", "aot_eager"))
    assert own.losses == pytest.approx(plain.losses, abs=1e-4)


def test_layers_and_lengths_share_a_graph(adapted):
    model, _ = adapted("llama", Full())
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.register_backend(backend, name="counted")
    with compiled(model, "counted"):
        for length in (7, 12, 30):
            model(input_ids=torch.full((2, length), 5), use_cache=False)
    assert len(graphs) == 1


def test_the_loop_compiles_what_it_trains(fit):
    with pytest.raises(ValueError, match="no backend 'inductr'; did you mean 'inductor'"):
        fit(Lora(), compile="inductr")


def test_nothing_is_looked_for_where_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(torch._dynamo, "list_backends", lambda **_: pytest.fail("it takes half a second"))
    assert unknown("") is None


def test_a_budget_of_seconds_is_not_spent_on_compiling():
    run = Run(Lora(), budget=Budget(seconds=60), train=Train(compile="inductor"))
    assert run.errors() == ["train.compile takes its time from a budget of seconds; set budget.steps, tokens or epochs"]


def test_a_model_without_layers_is_refused():
    with pytest.raises(ValueError, match=r"no repeated layers"), compiled(torch.nn.Linear(2, 2), "inductor"):
        pass


def test_a_run_keeps_its_id_unless_it_is_compiled():
    run = Run(Lora())
    other = replace(run, train=replace(run.train, compile="inductor"))
    assert "compile" not in run.identity()["train"]
    assert run.run_id() != other.run_id()
    assert from_dict(to_dict(other)) == other


def test_nothing_is_predicted_of_it():
    run = Run(Lora())
    asked = question(
        to_dict(replace(run, train=replace(run.train, compile="inductor"))), Workload(2, 16, 24), "cpu", "float32"
    )
    with pytest.raises(NotTraceable, match=r"torch\.compile"):
        trace(asked)

"""What cannot be traced: its reason in words, once, and its memory by the closed form."""

from dataclasses import replace

from bench.advise.cards import load
from bench.advise.closed_form import closed_form
from bench.method import discover
from tests.advise.conftest import ASK, Ask, FakeTracer, answer, by_name


def test_what_cannot_be_traced_has_its_reason_and_no_figures(ask: Ask, tracer: FakeTracer):
    tracer.refused["lora"] = "shapes depend on the data"
    row = by_name(answer(ask, *ASK))["lora"]
    assert row["predicted"] is None
    assert row["obstacles"] == {"trace": "shapes depend on the data"}
    assert row["closed_form"] is None
    said = " ".join(ask(*ASK)[1].split())
    assert "lora not predicted [1] lora + checkpointing not predicted [1]" in said
    assert said.count("shapes depend on the data") == 1
    assert "[1] shapes depend on the data." in said
    tracer.refused = dict.fromkeys(discover(), "no shapes")
    found = answer(ask, *ASK)
    assert found["recommendation"] is None
    assert {each["predicted"] for each in found["candidates"]} == {None}
    said = ask(*ASK)[1]
    assert said.count("no shapes") == 1
    assert "Nothing that was asked for has a trace, so nothing is recommended." in said


FAILED = "tracing failed: aten._local_scalar_dense.default"


def test_where_tracing_fails_the_closed_form_tells_the_memory_and_is_not_recommended(ask: Ask, tracer: FakeTracer):
    tracer.failed["qlora"] = FAILED
    found = answer(ask, *ASK)
    row = by_name(found)["qlora"]
    assert row["predicted"] is None
    assert row["obstacles"] == {"trace": "tracing failed: aten._local_scalar_dense.default"}
    rows = row["closed_form"]["micro_batch_size"]
    [asked] = [
        each
        for each in tracer.asked
        if each.run["method"]["name"] == "qlora" and not each.run["train"]["gradient_checkpointing"]
    ]
    expected = closed_form(replace(asked, workload=replace(asked.workload, rows=rows, padded=rows > 1)))
    assert expected is not None
    context, device = load("rtx-4090").context_bytes, row["closed_form"]["device_bytes"]
    assert device["value"] == expected.value + context
    assert device["high"] == expected.high + context * 1.25
    assert device["low"] == expected.low + context * 0.75
    fits = device["high"] <= found["card"]["memory_bytes"]
    assert row["closed_form"]["verdict"] == ("fits" if fits else "tight")
    assert not found["recommendation"]["candidate"].startswith("qlora")
    said = " ".join(ask(*ASK)[1].split())
    assert f"{row['closed_form']['verdict']} (closed form) [1]" in said
    assert "[1] tracing failed: aten._local_scalar_dense.default." in said


def test_where_all_tracing_fails_it_says_what_could_be_tried(ask: Ask, tracer: FakeTracer):
    tracer.failed = dict.fromkeys(discover(), FAILED)
    code, out, _ = ask(*ASK, "--batch", "1")
    assert code == 1
    assert "To try with `tunebench run`: " in out
    assert by_name(answer(ask, *ASK, "--batch", "1"))["lora"]["closed_form"]["micro_batch_size"] == 1
    several = by_name(answer(ask, *ASK, "--gpus", "2"))["lora"]
    assert several["closed_form"] is None  # which is of one device


def test_a_model_that_cannot_be_built_is_one_error(ask: Ask, tracer: FakeTracer):
    wrong = "model.path: cannot load ./mine: transformers does not know `foo`"
    tracer.failed = dict.fromkeys(discover(), wrong)
    code, out, err = ask(*ASK)
    assert (code, out) == (2, "")
    assert err == "tunebench advise: --model: cannot load ./mine: transformers does not know `foo`\n"

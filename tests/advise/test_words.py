"""The answer on the terminal: marks, units and where every figure is from."""

import pytest

from bench.advise.units import read_size
from tests.advise.conftest import ASK, Ask, FakeTracer, answer, by_name


def test_the_marks_do_not_need_colours(ask: Ask):
    found = answer(ask, *ASK)
    best = found["recommendation"]["candidate"]
    lines = ask(*ASK)[1].splitlines()
    assert [line.split("  ")[0] for line in lines if line.startswith("> ")] == [f"> {best} *"]
    assert any(line.startswith("  full ") for line in lines)
    assert any(line.startswith("  >: recommended. *: on the Pareto front") for line in lines)


def test_rows_at_once_that_were_given_are_not_called_as_many_as_fit(ask: Ask):
    assert "rows of a micro batch, as many as fit surely, at least one." in " ".join(ask(*ASK)[1].split())
    assert "rows of a micro batch, as given." in " ".join(ask(*ASK, "--batch", "2")[1].split())


def test_little_memory_and_time_have_small_units(ask: Ask, tracer: FakeTracer):
    tracer.parameters, tracer.token_bytes = 1e6, 100
    few = ("--model", "tiny-llama", "--gpu", "cpu", "--examples", "16", "--seq", "128")
    rows = by_name(answer(ask, *few))
    out = ask(*few)[1]
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [["at", "memory"], ["method", "once"]]
    assert out.splitlines()[2].split()[2:4] == ["MiB", "s"]
    value = rows["lora"]["predicted"]["device_bytes"]["value"] / 2**20
    assert value > 0.1
    assert f"{value:.1f} ≤" in out


def test_the_precision_is_said(ask: Ask):
    assert any(
        each.startswith("computation in bfloat16 (autocast), a frozen base in bfloat16 unless its method quantises")
        for each in answer(ask, *ASK)["assumptions"]
    )
    old = answer(ask, "--model", "gpt2", "--gpu", "t4")["assumptions"]
    assert any(each.startswith("computation in float32, a frozen base in bfloat16 unless") for each in old)


def test_the_terminal_says_where_every_figure_is_from(ask: Ask):
    out = " ".join(ask(*ASK, "--hours", "8")[1].split())
    for words in (
        "Memory and file: traced.",
        "Time: roofline of the trace",
        "Quality, prior: ",
        "What would change it",
    ):
        assert words in out
    assert "[traced]" in out
    assert "tunebench run model=llama-3.1-8b" in out


@pytest.mark.parametrize(("text", "bytes_"), [("100MB", 10**8), ("1.5GiB", 3 * 2**29), ("7", 7), ("2 kib", 2048)])
def test_sizes(text: str, bytes_: int):
    assert read_size(text) == bytes_

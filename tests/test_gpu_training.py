"""The comparison of training on a GPU without one: every loop at a reduced shape, and what its figures say."""

import math

import pytest

from bench.config import Model
from bench.models.families import FAMILIES
from tests.benchmarks.jobs import SEVEN, job
from tests.gpu.training import LOOPS, Cell, Figures, cells, flops_per_token, measure, model, table

TINY = Model(name="tiny", weights="random", architecture=FAMILIES["llama"].facts | {"vocab_size": 2048})


@pytest.mark.parametrize("loop", sorted(LOOPS))
@pytest.mark.parametrize("method", ["lora", "dpo"])
def test_every_loop_is_measured(loop: str, method: str):
    cell = Cell(method, loop, 2, 32)
    if (method, loop) == ("dpo", "peft-style"):
        assert cell not in set(cells(["dpo"], [(2, 32)], "eager", "eager"))
        return
    found = measure(cell, TINY, "cpu", steps=5)
    assert found.failed == ""
    assert found.tokens_per_s > 0
    assert found.flops_per_s > found.tokens_per_s
    assert found.peak_bytes > 4 * 2048 * 64  # no less than the weights


@pytest.mark.parametrize("option", [{"compiler": "eager"}, {"attention": "eager"}], ids=str)
def test_options(option: dict[str, str]):
    assert measure(Cell("lora", "ours", 2, 32, **option), TINY, "cpu", steps=5).failed == ""


def test_what_goes_wrong_is_a_result():
    found = measure(Cell("lora", "ours", 2, 32, attention="flash_attention_2"), TINY, "cpu", steps=5)
    assert "flash" in found.failed.lower()
    assert found.failed in table([found], 1e12)


def test_the_grid_has_every_method_in_every_loop_and_the_options():
    found = list(cells(SEVEN, [(1, 512), (4, 2048)], "inductor", "flash_attention_2"))
    assert len(found) == len(set(found)) == 2 * (len(SEVEN) * len(LOOPS) - 1 + 2)
    assert {model(name).name for name in ("llama-3.2-3b", "llama-3.1-8b")} == {"llama-3.2-3b", "llama-3.1-8b"}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_operations_of_a_token_by_hand(method: str):
    from bench.config import Task
    from bench.data import fixed

    examples = fixed.load(Task(source="fixed", max_length=32, train_examples=2)).train
    trained = job(method, examples, 32, TINY, batch_size=2)
    layer = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 128  # queries, keys and values, output, the three of the MLP
    weights = 2 * layer + 2048 * 64
    own = 2 * 8 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 128))  # of LoRA: rank x (inputs + outputs)
    attention = 3 * 2 * 2 * 64 * 32
    expected = 6 * weights + attention if method == "full" else 4 * (weights + own) + 2 * own + attention
    assert math.isclose(flops_per_token(trained, 32), expected)


def test_a_table():
    found = Figures(Cell("lora", "ours", 4, 2048), tokens_per_s=1000.0, flops_per_s=4e14, peak_bytes=3 * 2**30)
    head, line = table([found], 8e14).splitlines()
    assert line.split() == ["lora", "ours", "4", "x", "2048", "1,000", "50.0%", "3.00"]
    assert "MFU" in head
    assert "-" in table([found], None)

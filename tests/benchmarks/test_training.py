"""How fast training is: beside the least that PyTorch needs, peft's own comparison, and TRL as it is by itself.

To be measured with two threads, `OMP_NUM_THREADS=2`, as `make bench` does.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import Trainer

from bench.config import Model
from bench.data.tokens import Tokens, training_row
from bench.measure import memory
from bench.measure.memory import MemoryMeter
from bench.train import loop
from bench.train.meter import StepMeter
from bench.train.trainers import Measured, trainer_class
from tests.benchmarks.comparators import WARMUP, Pace, bare, ours, peft_style, trl_default
from tests.benchmarks.conftest import Hold
from tests.benchmarks.jobs import SEVEN, Job, docstrings, job
from tests.benchmarks.ratio import Ratio
from tests.benchmarks.turns import in_turns, step_by_step

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]
STEPS = 60
ROWS = 160  # where batches are equal
SPREAD, SMALL = 640, 8  # rows, and of a batch, where throughput is measured: four of the buckets that peft-style sorts
EPOCH = SPREAD // SMALL
QUICK = ("lora",)  # what every change is measured with
LENGTH = 96  # tokens of the longest row where batches are equal
WIDE = Model(
    name="wide",
    weights="random",
    architecture={
        "model_type": "llama",
        "vocab_size": 32768,
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
    },
)


@contextmanager
def in_the_order_of_rows() -> Iterator[None]:
    """Inside the block our batches are those of `bare`."""
    with patch.object(Measured, "_get_train_sampler", lambda self, rows=None: SequentialSampler(self.train_dataset)):
        yield


def in_order(job: Job, steps: int) -> Pace:
    """Ours with the rows in their order."""
    with in_the_order_of_rows():
        return ours(job, steps)


def throughput(of: Callable[[int], Pace], other: Callable[[int], Pace], epochs: int = 3) -> Ratio:
    """Non-padding tokens per second of one by those of the other, an epoch beside an epoch, after a first one.

    Either has every row once in each, though in other batches, so that the tokens are the same.
    """
    steps = (1 + epochs) * EPOCH + 1
    seconds = in_turns(lambda: of(steps), lambda: other(steps))
    ours, theirs = ([sum(each[i * EPOCH : (i + 1) * EPOCH]) for i in range(1, 1 + epochs)] for each in seconds)
    return Ratio.of([*zip(theirs, ours, strict=True)])


def quick_too(*names: str) -> list[Any]:
    """The names, some of which every change is measured with."""
    return [pytest.param(name, marks=pytest.mark.regression if name in QUICK else ()) for name in names]


@pytest.mark.parametrize("method", quick_too(*SEVEN))
def test_a_step_beside_a_bare_one(method: str, hold: Hold) -> None:
    trained, other = (job(method, docstrings(ROWS), LENGTH) for _ in range(2))
    with in_the_order_of_rows():
        ratio = step_by_step(lambda: ours(trained, STEPS), lambda: bare(other, STEPS), WARMUP)
    hold(f"step: {method} / bare", ratio, at_most=1.03)


@pytest.mark.parametrize("method", quick_too(*SEVEN))
def test_the_losses_are_those_of_the_bare_loop(method: str) -> None:
    found = [train(job(method, docstrings(ROWS), LENGTH), 6).losses for train in (in_order, bare)]
    assert found[0] == pytest.approx(found[1], abs=2e-5)
    assert abs(found[0][0] - found[0][-1]) > 1e-3


class Unmeasured(StepMeter):
    """Measures nothing, and so ends nothing either."""

    def _nothing(self, *_: Any, **__: Any) -> None:
        pass

    on_train_begin = on_step_begin = on_optimizer_step = on_step_end = on_train_end = flush = _nothing


def unmeasured(trained: Job) -> Pace:
    """The same training where nothing is counted, timed or written."""

    def plain(*which: Any) -> Any:
        return type("Plain", (trainer_class(*which),), {"training_step": Trainer.training_step})

    with ExitStack() as stack:
        stack.enter_context(patch.object(loop, "StepMeter", Unmeasured))
        stack.enter_context(patch.object(loop, "summary", lambda *_: SimpleNamespace()))
        stack.enter_context(patch.object(loop, "trainer_class", plain))
        return ours(trained, STEPS)


def test_measuring(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of a run, with its memory watched, beside those of the same training where nothing is measured."""
    monkeypatch.setattr(memory, "trim_heap", lambda: None)  # once a run, and here every step is a phase of its own
    trained, other = (job("lora", docstrings(ROWS), LENGTH) for _ in range(2))
    meter = MemoryMeter("cpu")
    with in_the_order_of_rows():
        ratio = step_by_step(
            lambda: ours(trained, STEPS), lambda: unmeasured(other), WARMUP, around=lambda: meter.phase("train")
        )
    hold("measuring: with / without", ratio, at_most=1.01)


@pytest.mark.parametrize(
    "title",
    ["lora", "lora, compiled", "lora, packed", "lora, packed, compiled", "full", "full, compiled"],
)
def test_throughput_beside_peft_style(title: str, hold: Hold) -> None:
    """By default, and with what the loop can do on demand; compiling is over before anything is timed."""
    method, *options = title.split(", ")
    settings = {"packing": "packed" in options, "compile": "inductor" if "compiled" in options else ""}
    trained, theirs = (job(method, docstrings(SPREAD), batch_size=SMALL) for _ in range(2))
    ratio = throughput(partial(ours, trained, **settings), partial(peft_style, theirs))
    hold(f"throughput: {title} / peft-style", ratio, at_least=1.3)


@pytest.mark.timeout(3600)  # bfloat16, TRL's default, may be emulated
@pytest.mark.parametrize(
    ("name", "changes"),
    [("trl-default", {}), ("trl in float32", {"bf16": False, "gradient_checkpointing": False})],
    ids=["default", "float32"],
)
def test_throughput_beside_trl(name: str, changes: dict[str, Any], hold: Hold) -> None:
    trained, theirs = (job("lora", docstrings(SPREAD), batch_size=SMALL) for _ in range(2))
    ratio = throughput(partial(ours, trained), partial(trl_default, theirs, **changes), epochs=2)
    hold(f"throughput: lora / {name}", ratio, at_least=1.2)


def peak(train: Callable[[Job, int], Pace]) -> float:
    """Peak memory of a training with the weights of its model, bytes; every token carries loss."""
    meter = MemoryMeter("cpu")
    trained = job("lora", docstrings(16), model=WIDE, batch_size=4)
    trained.rows = trained.rows.map(lambda row: {"labels": row["input_ids"]})
    with meter.phase("train"):
        train(trained, 2)
    return float(meter.phases[0].peak_allocated_bytes or 0)


@pytest.mark.regression
def test_peak_memory_with_a_large_vocabulary(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SHARE", 0.5)  # what reading costs is not asked here, and no peak is to be missed
    peak(ours)  # the first has what the libraries allocate once
    ratio = Ratio.of([(peak(ours), peak(peft_style)) for _ in range(3)])
    hold("peak memory: lora / peft-style, vocabulary 32k", ratio, at_most=0.7)


@pytest.mark.regression
def test_a_dpo_step_beside_a_supervised_one(hold: Hold) -> None:
    pairs = job("dpo", docstrings(ROWS), LENGTH, batch_size=SMALL)
    assert "ref_chosen_logps" in pairs.rows.column_names
    rows = [
        training_row(Tokens(pairs.rows[i]["prompt_ids"], pairs.rows[i][f"{answer}_ids"]))
        for start in range(0, len(pairs.rows), SMALL)
        for answer in ("chosen", "rejected")
        for i in range(start, start + SMALL)
    ]
    answers = job("lora", docstrings(ROWS), LENGTH, batch_size=2 * SMALL)
    answers = replace(answers, rows=Dataset.from_list(rows))
    assert in_order(pairs, 6).tokens == in_order(answers, 6).tokens
    with in_the_order_of_rows():
        ratio = step_by_step(lambda: ours(pairs, STEPS), lambda: ours(answers, STEPS), WARMUP)
    hold("step: dpo / sft on the same tokens", ratio, at_most=1.6)

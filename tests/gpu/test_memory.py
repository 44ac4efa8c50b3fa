"""Peak memory of training, predicted from the configuration and measured on a GPU.

The intervals are those of `bench.advise.memory`, which should hold 95 of 100 measured values; figures are printed
with `-rP`.
"""

import statistics

import pytest

from bench.advise.memory import estimate
from bench.config import from_dict
from bench.objective import of
from bench.records.schema import Record, Status
from tests.gpu.suite import Compared, errors, mape, share_above, share_outside

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(7200)]

ALLOCATED_MAPE, RESERVED_MAPE = 0.02, 0.05
OUTSIDE = 0.05  # share of values that may be outside of their interval
CONTEXT_SPREAD = 0.25  # as `bench.advise.memory.estimate` has it


def test_every_run_ended_as_it_may(records: list[Record]):
    unexpected = {r.run_id: r.reason for r in records if r.status not in (Status.OK, Status.OOM, Status.UNSUPPORTED)}
    assert not unexpected
    for record in records:
        if record.status is Status.UNSUPPORTED:
            assert record.config["train"]["gradient_checkpointing"]


def test_rows_have_the_lengths_that_are_predicted_for(compared: list[Compared]):
    for each in compared:
        training, task = each.record.training, each.record.config["task"]
        sequences = of(from_dict(each.record.config).method).sequences
        assert training.tokens == training.examples * task["max_length"] * sequences
        assert training.trained_tokens == training.tokens // 2


def test_allocated(compared: list[Compared]):
    pairs = [(each.memory.allocated, each.measured.peak_allocated_bytes) for each in compared]
    for each, (predicted, measured) in zip(compared, pairs, strict=True):
        print(each.line(predicted.value, measured))
    assert mape(errors((e.value, measured) for e, measured in pairs)) <= ALLOCATED_MAPE
    assert share_outside(pairs) <= OUTSIDE


def test_reserved(compared: list[Compared]):
    pairs = [(each.memory.reserved, each.measured.peak_reserved_bytes) for each in compared]
    for each, (predicted, measured) in zip(compared, pairs, strict=True):
        print(each.line(predicted.value, measured))
    assert mape(errors((e.value, measured) for e, measured in pairs)) <= RESERVED_MAPE
    assert share_above(pairs) <= OUTSIDE


def test_device(compared: list[Compared]):
    """CUDA's context is about the same for all runs on one card, so that a figure of the card's can stand for it."""
    for hardware in {each.record.environment.hardware for each in compared}:
        here = [each for each in compared if each.record.environment.hardware == hardware]
        contexts = [each.measured.peak_device_bytes - each.measured.peak_reserved_bytes for each in here]
        middle = statistics.median(contexts)
        print(f"{hardware}: context {min(contexts):,} to {max(contexts):,} bytes, median {middle:,}")
        pairs = [(estimate(e.trace, int(middle), CONTEXT_SPREAD).device, e.measured.peak_device_bytes) for e in here]
        assert share_above(pairs) <= OUTSIDE

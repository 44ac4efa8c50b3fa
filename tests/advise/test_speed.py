"""The roofline against cases computed by hand, the fit against known constants, and both against published runs.

The operations of the published runs' steps are made by `python -m tests.advise.trace_published`.
"""

from dataclasses import replace

import pytest

from bench.advise import cards
from bench.advise.card import DEFAULTS, Card, Constants, card_from
from bench.advise.fitting import Measured, fit
from bench.advise.speed import SPREAD, estimate, hours
from tests.advise.published import FULL, LORA, measured, trace

# 100 TFLOP/s in 16 bits, 10 in float32, 1 TB/s.
CARD = card_from(
    {"title": "Round", "family": "cuda", "nominal_gb": 10, "memory_gib": 10, "bandwidth_gb_s": 1000,
     "half_tflops": 100, "float32_tflops": 10}, "round"
)  # fmt: skip
EVEN = Constants(matmul=0.5, bandwidth=0.5, optimizer=0.25, kernel_s=1e-5, host_s=1e-5)


def _seconds(*operations: list, card: Card = CARD, dispatches: int = 0) -> float:
    return estimate(trace(list(operations), dispatches), card, EVEN).step.value


@pytest.mark.parametrize(
    ("operation", "seconds"),
    [
        (["matmul", "bfloat16", 1e12, 1e6, 1, 1], 1e12 / 50e12),  # arithmetic
        (["matmul", "float32", 1e12, 1e6, 1, 1], 1e12 / 5e12),
        (["attention", "bfloat16", 1e12, 1e6, 3, 1], 3 * 1e12 / 50e12),
        (["matmul", "bfloat16", 1e9, 1e10, 1, 1], 1e10 / 500e9),  # a product with one row reads its weights
        (["memory", "float32", 0.0, 1e10, 2, 1], 2 * 1e10 / 500e9),
        (["dequantize", "bfloat16", 0.0, 1e10, 1, 1], 1e10 / 500e9),
        (["optimizer", "float32", 0.0, 1e10, 1, 1], 1e10 / 250e9),
        (["memory", "float32", 0.0, 64.0, 100, 1], 100 * 1e-5),  # kernels
        (["memory", "float32", 0.0, 64.0, 100, 3], 100 * 3 * 1e-5),
    ],
)
def test_an_operation_takes_as_long_as_what_bounds_it(operation: list, seconds: float):
    assert _seconds(operation) == pytest.approx(seconds, rel=1e-12)


def test_a_step_takes_as_long_as_the_slower_of_device_and_host():
    product, copy = ["matmul", "bfloat16", 1e12, 1e6, 1, 1], ["memory", "float32", 0.0, 1e10, 1, 1]
    assert _seconds(product, copy) == pytest.approx(0.02 + 0.02)
    assert _seconds(product, copy, dispatches=1000) == pytest.approx(0.04)
    assert _seconds(product, copy, dispatches=10_000) == pytest.approx(0.1)
    assert _seconds(product, copy, dispatches=1000, card=replace(CARD, family="cpu")) == pytest.approx(0.04 + 0.01)


def test_bfloat16_on_a_card_without_it_goes_at_the_rate_of_float32():
    product = ["matmul", "bfloat16", 1e12, 1e6, 1, 1]
    assert _seconds(product, card=replace(CARD, native_bfloat16=False)) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("operation", "dispatches", "bound"),
    [
        (["matmul", "bfloat16", 1e12, 1e6, 1, 1], 10, "compute"),
        (["memory", "float32", 0.0, 1e10, 1, 1], 10, "memory bandwidth"),
        (["memory", "float32", 0.0, 64.0, 100, 1], 10, "kernel launches"),
        (["memory", "float32", 0.0, 64.0, 100, 1], 101, "host"),
    ],
)
def test_it_says_what_bounds_the_step(operation: list, dispatches: int, bound: str):
    assert estimate(trace([operation], dispatches), CARD, EVEN).bound == bound


def test_rates_shares_and_interval():
    operations = [["matmul", "bfloat16", 1e12, 1e6, 1, 1], ["memory", "float32", 0.0, 3e10, 1, 1]]
    speed = estimate(trace(operations, tokens=800), CARD, EVEN)
    assert speed.step.value == pytest.approx(0.08)
    assert speed.tokens_per_s.value == pytest.approx(10_000)
    assert speed.mfu == pytest.approx(1e12 / 0.08 / 100e12)
    assert speed.shares == pytest.approx({"matmul": 0.25, "memory": 0.75})
    spread = SPREAD["default"]
    assert (speed.step.low, speed.step.high) == pytest.approx((0.08 * (1 - spread), 0.08 * (1 + spread)))
    assert (speed.tokens_per_s.low, speed.tokens_per_s.high) == pytest.approx(
        (800 / speed.step.high, 800 / speed.step.low)
    )
    assert estimate(trace(operations), CARD, replace(EVEN, evidence="fitted")).step.high < speed.step.high


def test_the_card_s_own_constants_are_used_unless_others_are_given():
    operations = [["memory", "float32", 0.0, 1e10, 1, 1]]
    assert estimate(trace(operations), CARD).step.value == pytest.approx(1e10 / (DEFAULTS["cuda"].bandwidth * 1e12))


def test_hours_of_a_training():
    speed = estimate(trace([["memory", "float32", 0.0, 1e12, 1, 1]]), CARD, EVEN)  # 2 seconds a step
    assert hours(speed, examples=7200, epochs=2, examples_per_step=8).value == pytest.approx(1.0)
    assert hours(speed, examples=7200, epochs=2, examples_per_step=8, devices=2).value == pytest.approx(0.5)
    assert hours(speed, examples=7200, epochs=2, examples_per_step=8).low == pytest.approx(1 - SPREAD["default"])
    assert hours(speed, examples=1, epochs=1, examples_per_step=8).value == pytest.approx(2 / 3600)  # a step at least


def test_a_trace_without_operations_is_refused():
    with pytest.raises(ValueError, match="a trace without operations tells no time"):
        estimate(trace([]), CARD, EVEN)


def _runs(truth: Constants) -> list[Measured]:
    """Runs that are bound by each of the five in turn, with the times that `truth` gives them."""
    traces = [
        trace([["matmul", "bfloat16", 1e12, 1e6, 1, 1]]),
        trace([["memory", "float32", 0.0, 1e10, 1, 1]]),
        trace([["optimizer", "float32", 0.0, 1e10, 1, 1]]),
        trace([["memory", "float32", 0.0, 64.0, 1000, 1]]),
        trace([["memory", "float32", 0.0, 64.0, 10, 1]], dispatches=10_000),
    ]
    return [Measured(each, estimate(each, CARD, truth).step.value, CARD) for each in traces]


TRUTH = Constants(matmul=0.6, bandwidth=0.85, optimizer=0.7, kernel_s=6e-6, host_s=5e-6)
SHARES, TIMES = ("matmul", "bandwidth", "optimizer"), ("kernel_s", "host_s")


def test_a_fit_finds_the_constants_that_made_the_times():
    found = fit(_runs(TRUTH), DEFAULTS["cuda"])
    for name in SHARES + TIMES:
        assert getattr(found, name) == pytest.approx(getattr(TRUTH, name), rel=0.02)
    assert found.evidence == "fitted"


def test_what_is_not_measured_stays_as_it_was():
    found = fit(_runs(TRUTH)[:1], DEFAULTS["cuda"])
    assert found.matmul == pytest.approx(0.6, rel=0.02)
    for name in ("bandwidth", "optimizer", *TIMES):
        assert getattr(found, name) == pytest.approx(getattr(DEFAULTS["cuda"], name), rel=1e-6)


def test_one_disturbed_run_does_not_spoil_the_others():
    runs = _runs(TRUTH)
    disturbed = [*runs[:1] * 4, replace(runs[0], step_seconds=3 * runs[0].step_seconds)]
    assert fit(disturbed, DEFAULTS["cuda"]).matmul == pytest.approx(0.6, rel=0.03)


def test_a_share_of_the_peak_is_at_most_one():
    runs = [replace(run, step_seconds=run.step_seconds / 3) for run in _runs(TRUTH)[:2]]
    found = fit(runs, DEFAULTS["cuda"])
    assert (found.matmul, found.bandwidth) == pytest.approx((1.0, 1.0))


def test_nothing_and_no_time_cannot_be_fitted():
    with pytest.raises(ValueError, match="no step was measured"):
        fit([], DEFAULTS["cuda"])
    with pytest.raises(ValueError, match="a step's time must be > 0 seconds, got 0"):
        fit([replace(_runs(TRUTH)[0], step_seconds=0)], DEFAULTS["cuda"])


def _errors(constants: Constants) -> dict[str, float]:
    return {
        name: abs(estimate(run.trace, run.card, constants).step.value / run.step_seconds - 1)
        for name, run in measured().items()
    }


def test_published_step_times_from_constants_fitted_on_two_of_them():
    """MAPE at most 12 % is what the advisor promises; what is held is half of it."""
    runs = measured()
    assert len(runs) == 10
    errors = _errors(fit([runs[FULL], runs[LORA]], cards.load("l40s").constants))
    held_out = [error for name, error in errors.items() if name not in (FULL, LORA)]
    assert sum(errors.values()) / len(errors) < 0.06
    assert sum(held_out) / len(held_out) < 0.06
    assert max(errors.values()) < SPREAD["fitted"]


def test_published_step_times_from_the_defaults_alone():
    errors = _errors(cards.load("l40s").constants)
    assert sum(errors.values()) / len(errors) < 0.06
    assert max(errors.values()) < SPREAD["default"]


def test_published_step_times_left_out_one_by_one():
    for name, run in measured().items():
        others = [other for key, other in measured().items() if key != name]
        constants = fit(others, cards.load("l40s").constants)
        step = estimate(run.trace, run.card, constants).step
        assert step.low < run.step_seconds < step.high

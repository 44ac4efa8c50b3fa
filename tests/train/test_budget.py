"""Budgets and schedules as numbers, and trainings that end where their budget says."""

import math

import pytest

from bench.config import Budget, Train
from bench.data.tokens import tokenise
from bench.train.budget import rate, total_steps
from methods.lora import Lora

LENGTHS = [10, 20, 30, 40, 50]  # 150 tokens, 30 a row


@pytest.mark.parametrize(
    ("budget", "batch_size", "steps"),
    [
        (Budget(steps=7), 2, 7),
        (Budget(tokens=120), 2, 2),
        (Budget(tokens=121), 2, 3),
        (Budget(tokens=1), 2, 1),
        (Budget(epochs=1), 2, 3),  # two whole batches and one of a single row
        (Budget(epochs=2), 2, 6),
        (Budget(epochs=1), 5, 1),
        (Budget(epochs=0.5), 1, 3),
        (Budget(epochs=1.5), 8, 2),
        (Budget(seconds=9), 2, None),
    ],
)
def test_steps_of_a_budget(budget: Budget, batch_size: int, steps: int | None):
    assert total_steps(budget, LENGTHS, batch_size) == steps


@pytest.mark.parametrize(
    ("schedule", "progress", "factor"),
    [
        ("cosine", 0.0, 0.0),
        ("cosine", 0.05, 0.5),
        ("cosine", 0.1, 1.0),
        ("cosine", 0.1 + 0.9 / 4, 0.5 + math.sqrt(0.5) / 2),
        ("cosine", 0.55, 0.5),
        ("cosine", 1.0, 0.0),
        ("cosine", 1.3, 0.0),
        ("linear", 0.05, 0.5),
        ("linear", 0.55, 0.5),
        ("linear", 1.0, 0.0),
        ("constant", 0.05, 0.5),
        ("constant", 0.55, 1.0),
        ("constant", 1.0, 1.0),
    ],
)
def test_the_schedules(schedule: str, progress: float, factor: float):
    assert rate(progress, Train(schedule=schedule, warmup=0.1)) == pytest.approx(factor, abs=1e-12)


def test_without_warm_up_the_rate_starts_at_its_peak():
    assert rate(0.0, Train(schedule="cosine", warmup=0.0)) == 1


def test_the_learning_rate_of_every_step_is_the_schedule_s(fit):
    fitted = fit(Lora(learning_rate=1e-2), steps=10, schedule="linear", warmup=0.2)
    expected = [1e-2 * factor for factor in (0, 0.5, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8)]
    assert [line["learning_rate"] for line in fitted.lines] == pytest.approx(expected)


def test_a_budget_of_steps(fit):
    fitted = fit(Lora(), steps=3)
    assert [line["step"] for line in fitted.lines] == [1, 2, 3]
    assert (fitted.training.steps, fitted.training.examples) == (3, 12)


def test_a_budget_of_epochs_shows_every_example_once_in_each(fit, examples):
    fitted = fit(Lora(), rows=examples[:10], epochs=2)
    assert fitted.training.steps == 6
    assert fitted.training.examples == 20
    accumulated = fit(Lora(), rows=examples[:10], epochs=2, gradient_accumulation=2)
    assert (accumulated.training.steps, accumulated.training.examples) == (6, 20)
    assert accumulated.training.tokens == fitted.training.tokens


def test_a_budget_of_tokens_ends_with_the_step_that_spends_it(fit, examples, adapted):
    tokens = sum(len(t.prompt) + len(t.completion) for t in tokenise(examples, adapted("llama", None)[1], 64))
    fitted = fit(Lora(), tokens=tokens)  # all rows once
    assert fitted.training.steps == 6
    assert fitted.training.tokens == tokens


def test_a_budget_of_seconds_ends_with_the_step_that_spends_it(fit):
    fitted = fit(Lora(learning_rate=1e-2), seconds=0.4, schedule="linear")
    times = [line["seconds"] for line in fitted.lines]
    assert sum(times[:-1]) < 0.4
    assert sum(times) > 0.39
    assert fitted.events[-1]["budget"] == 1
    assert fitted.events[-1]["steps"] is None
    rates = [line["learning_rate"] for line in fitted.lines]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1e-2
    spent = [sum(times[:done]) for done in range(len(times))]
    expected = [1e-2 * (1 - seconds / 0.4) for seconds in spent]
    assert rates == pytest.approx(expected, abs=2e-4)

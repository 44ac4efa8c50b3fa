"""Which runs are paired with which, and what a difference between two sides rests on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.records.schema import Record
from bench.report.columns import Column, columns
from bench.report.outcomes import Outcomes
from bench.report.sections import Group, Stored
from bench.report.statistics import mean_interval
from bench.report.statistics.tests import crossed, mcnemar, paired_interval, paired_t

Make = Callable[..., Record]
Store = Callable[..., Path]
GENERATOR = np.random.default_rng(0)
RIGHT = {
    (m, s): (GENERATOR.random(40) < p).astype(int).tolist() for m, p in (("sft", 0.8), ("lora", 0.5)) for s in range(4)
}


def column(records: list[Record], key: str = "test_accuracy") -> Column:
    return next(each for each in columns(records) if each.key == key)


@pytest.fixture
def runs(make: Make, store: Store) -> Callable[..., list[Stored]]:
    """Runs of a method with these seeds, with the outcomes of 40 examples each."""

    def of(method: str, *seeds: int) -> list[Stored]:
        made = []
        for seed in seeds:
            right = RIGHT[method, seed]
            record = make(method, seed=seed, accuracy=sum(right) / 40, loss=0.5 + sum(right) / 100)
            made.append(Stored(record, store(record, right)))
        return made

    return of


def array(method: str, *seeds: int) -> np.ndarray:
    return np.array([RIGHT[method, seed] for seed in seeds], dtype=float)


def p_value(first: list[Stored], second: list[Stored], key: str = "test_accuracy") -> float | None:
    (found,) = Outcomes().p_values(Group(first), [Group(second)], column([run.record for run in first], key))
    return found


def test_one_run_each_is_mcnemars_test_whatever_the_seeds(runs: Callable[..., list[Stored]]) -> None:
    for seed in (0, 3):
        first, second = array("sft", 0)[0], array("lora", seed)[0]
        expected = mcnemar(int((first > second).sum()), int((first < second).sum()))
        assert p_value(runs("sft", 0), runs("lora", seed)) == expected


def test_several_seeds_are_paired_by_seed_and_what_has_no_partner_is_left_out(
    runs: Callable[..., list[Stored]],
) -> None:
    expected = crossed(array("sft", 1, 2) - array("lora", 1, 2))
    assert p_value(runs("sft", 0, 1, 2), runs("lora", 1, 2, 3)) == pytest.approx(expected)
    first, second = array("sft", 2)[0], array("lora", 2)[0]
    alone = mcnemar(int((first > second).sum()), int((first < second).sum()))
    assert p_value(runs("sft", 1, 2), runs("lora", 2, 3)) == alone


def test_without_a_common_seed_runs_are_paired_in_order(runs: Callable[..., list[Stored]]) -> None:
    assert p_value(runs("sft", 0, 1), runs("lora", 2, 3)) == pytest.approx(
        crossed(array("sft", 0, 1) - array("lora", 2, 3))
    )


def test_what_no_example_has_is_tested_over_the_seeds(runs: Callable[..., list[Stored]]) -> None:
    first, second = runs("sft", 0, 1, 2), runs("lora", 0, 1, 2)
    gaps = [(sum(RIGHT["sft", s]) - sum(RIGHT["lora", s])) / 100 for s in range(3)]
    assert p_value(first, second, "validation_loss_nats") == pytest.approx(paired_t(gaps))
    assert p_value(first[:1], second[:1], "validation_loss_nats") is None


def test_other_examples_are_never_paired(runs: Callable[..., list[Stored]], make: Make, store: Store) -> None:
    other = make("prompt", accuracy=0.5)
    short = [Stored(other, store(other, [1, 0]))]
    assert p_value(runs("sft", 0), short) is None


def test_a_difference_has_the_interval_of_what_pairs_the_two_sides(runs: Callable[..., list[Stored]]) -> None:
    first, second = runs("sft", 0, 1, 2), runs("lora", 0, 1, 2)
    accuracy, loss = (column([run.record for run in first], key) for key in ("test_accuracy", "validation_loss_nats"))
    found = Outcomes()
    expected = paired_interval(array("sft", 0), array("lora", 0))
    interval, basis = found.difference(first[:1], second[:1], accuracy)
    assert interval == pytest.approx(expected, abs=0.01), "resamples depend on the order of the examples"
    assert basis == "over the test examples"
    expected = paired_interval(array("sft", 0, 1, 2), array("lora", 0, 1, 2))
    interval, basis = found.difference(first, second, accuracy)
    assert interval == pytest.approx(expected)
    assert basis == "over 3 seeds and the test examples"
    gaps = [(sum(RIGHT["sft", s]) - sum(RIGHT["lora", s])) / 100 for s in range(3)]
    interval, basis = found.difference(first, second, loss)
    assert interval == pytest.approx(mean_interval(gaps))
    assert basis == "over 3 seeds"
    nothing = "one run on each side, and no outcomes of the same examples"
    assert found.difference(first[:1], second[:1], loss) == (None, nothing)

"""Which runs are paired with which, and what a difference between two sides rests on."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.records.schema import Record
from bench.report.cli import main
from bench.report.columns import Column, columns
from bench.report.outcomes import Outcomes
from bench.report.sections import Group, Stored
from bench.report.statistics import mean_interval
from bench.report.statistics.hypotheses import crossed, crossed_apart, mcnemar, paired_interval, paired_t, unpaired_t

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
        assert p_value(runs("sft", 0), runs("lora", seed)) == pytest.approx(expected)


def test_the_same_seeds_are_paired(runs: Callable[..., list[Stored]]) -> None:
    expected = crossed(array("sft", 1, 2) - array("lora", 1, 2))
    assert p_value(runs("sft", 1, 2), runs("lora", 1, 2)) == pytest.approx(expected)


@pytest.mark.parametrize("seeds", [((0, 1), (2, 3)), ((0, 1, 2), (1, 2, 3)), ((1, 2), (2, 3)), ((0, 1, 2), (0, 1))])
def test_other_seeds_are_not_paired_and_all_of_them_count(
    runs: Callable[..., list[Stored]], seeds: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    first, second = seeds
    expected = crossed_apart(array("sft", *first), array("lora", *second))
    assert p_value(runs("sft", *first), runs("lora", *second)) == pytest.approx(expected)
    results = [
        [0.5 + sum(RIGHT[method, seed]) / 100 for seed in side]
        for method, side in zip(("sft", "lora"), seeds, strict=True)
    ]
    found = p_value(runs("sft", *first), runs("lora", *second), "validation_loss_nats")
    assert found == pytest.approx(unpaired_t(*results))


def test_one_run_is_never_tested_against_several(runs: Callable[..., list[Stored]]) -> None:
    for key in ("test_accuracy", "validation_loss_nats"):
        assert p_value(runs("sft", 0), runs("lora", 0, 1), key) is None
        assert p_value(runs("sft", 0, 1, 2), runs("lora", 2), key) is None


DAMAGE: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "half": (lambda lines: [*lines[:20], lines[20][:9]], "has 20 whole lines, and the record counts 40 test examples"),
    "ids": (lambda lines: [re.sub('"id": "[^"]*"', '"id": null', line) for line in lines], "line 1 has no id"),
    "twice": (lambda lines: [*lines[:39], lines[0]], "line 40 has the id 'e0' again"),
    "number": (
        lambda lines: [lines[0].replace('"loss": 0.5', f'"loss": {10**400}'), *lines[1:]],
        "line 1: loss is beyond every number",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_outcomes_are_named_and_decide_nothing(runs: Callable[..., list[Stored]], damage: str) -> None:
    (run,), change = runs("sft", 0), DAMAGE[damage][0]
    assert run.folder is not None
    path = run.folder / "examples.jsonl"
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    for _ in range(2):
        found = Outcomes()
        assert found.intervals([Group([run])], column([run.record])) == [None]
        assert [str(error) for error in found.damaged] == [f"{path}: {DAMAGE[damage][1]}"]


def test_damaged_outcomes_are_named_beside_a_table_of_any_format(
    runs: Callable[..., list[Stored]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = runs("sft", 0)
    assert run.folder is not None
    path = run.folder / "examples.jsonl"
    path.write_text(path.read_text()[:500])
    for form in ("terminal", "csv", "json", "md", "latex", "html"):
        assert main([str(tmp_path / "runs"), "--format", form]) == 0
        assert f"{path}: has " in capsys.readouterr().err


def test_outcomes_that_are_a_folder_are_named(runs: Callable[..., list[Stored]]) -> None:
    (run,) = runs("sft", 0)
    assert run.folder is not None
    (run.folder / "examples.jsonl").unlink()
    found = Outcomes()
    assert found.intervals([Group([run])], column([run.record])) == [None]
    assert found.damaged == [], "no file is no damage: not every run keeps outcomes"
    (run.folder / "examples.jsonl").mkdir()
    found = Outcomes()
    found.intervals([Group([run])], column([run.record]))
    assert [error.path for error in found.damaged] == [run.folder / "examples.jsonl"]


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
    assert interval == expected
    assert basis == "paired over 40 examples"
    expected = paired_interval(array("sft", 0, 1, 2), array("lora", 0, 1, 2))
    interval, basis = found.difference(first, second, accuracy)
    assert interval == pytest.approx(expected)
    assert basis == "paired over 3 seeds and 40 examples"
    gaps = [(sum(RIGHT["sft", s]) - sum(RIGHT["lora", s])) / 100 for s in range(3)]
    interval, basis = found.difference(first, second, loss)
    assert interval == pytest.approx(mean_interval(gaps))
    assert basis == "paired over 3 seeds"
    assert found.difference(first[:1], second[:1], loss) == (None, "one run on each side")

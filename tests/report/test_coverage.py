"""How often the intervals cover the truth, and how often the tests find a difference where there is none.

Every figure is measured on data drawn here, from a seed. A rate over R repetitions is itself uncertain by about
2 * sqrt(0.05 * 0.95 / R): 0.010 for 2000 repetitions.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.records.schema import Record
from bench.report.statistics.bootstrap import bootstrap
from bench.report.statistics.hypotheses import (
    crossed,
    crossed_apart,
    holm,
    holm_against_best,
    paired_interval,
    paired_p_values,
    paired_t,
    unpaired_t,
)
from bench.report.statistics.intervals import Interval, mean_interval, paired_shares, wilson
from bench.report.table import build

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, tuple[int, int]], Array]


def covered(intervals: list[Interval | None], truth: float) -> float:
    """Share of the intervals that hold the truth."""
    return float(np.mean([i is not None and i.low <= truth <= i.high for i in intervals]))


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("shape", ["normal", "logistic"])
def test_interval_over_seeds_covers_the_mean(seeds: int, shape: str) -> None:
    draws = getattr(np.random.default_rng(seeds), shape)(size=(10_000, seeds))
    assert 0.93 <= covered([mean_interval(row) for row in draws.tolist()], 0) <= 0.97


@pytest.mark.parametrize(("seeds", "least"), [(3, 0.915), (5, 0.93), (10, 0.94)])
def test_interval_over_seeds_hardly_minds_a_distribution_without_tails(seeds: int, least: float) -> None:
    draws = np.random.default_rng(seeds).uniform(-1, 1, (10_000, seeds))
    assert least <= covered([mean_interval(row) for row in draws.tolist()], 0) <= 0.97


def test_a_bootstrap_over_three_seeds_would_cover_far_too_little() -> None:
    generator = np.random.default_rng(0)
    draws = generator.normal(size=(2000, 3))
    means = draws[:, generator.integers(0, 3, (1000, 3))].mean(axis=2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) < 0.85


@pytest.mark.parametrize(("share", "examples"), [(0.5, 100), (0.1, 100), (0.75, 728), (0.97, 728)])
def test_interval_of_a_share_covers_it(share: float, examples: int) -> None:
    successes = np.random.default_rng(1).binomial(examples, share, 5000)
    assert 0.93 <= covered([wilson(int(count), examples) for count in successes], share) <= 0.97


def shares(generator: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Differences of 0/1 outcomes: 30% of the examples part the two methods, the first wins two of three."""
    return generator.choice([0.0, 1.0, -1.0], size=shape, p=[0.7, 0.2, 0.1])


def overlaps(generator: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Differences of scores between 0 and 1 such as ROUGE or F1, which are often 0 on both sides."""
    hard = generator.random(shape) < 0.4
    return np.where(hard, 0, generator.beta(2, 1.5, shape) - generator.beta(1.5, 2, shape))


def losses(generator: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Differences of losses: skewed, with a few large ones."""
    return generator.exponential(1.0, shape) - 0.5 * generator.exponential(1.0, shape)


TRUTHS = {shares: 0.1, overlaps: 0.6 * (2 / 3.5 - 1.5 / 3.5), losses: 0.5}


@pytest.mark.parametrize("examples", [50, 200, 728])
@pytest.mark.parametrize("draw", TRUTHS)
def test_bootstrap_covers_a_paired_difference_and_finds_none_where_there_is_none(draw: Draw, examples: int) -> None:
    samples = draw(np.random.default_rng(examples), (2000, examples)) - TRUTHS[draw]
    found = bootstrap(list(samples))
    given = [each for each in found if each.interval is not None]
    assert len(given) > 0.95 * len(found), "of 50 examples fewer than 10 may part the two"
    assert 0.93 <= covered([each.interval for each in given], 0) <= 0.97
    assert 0.03 <= np.mean([each.p is not None and each.p <= 0.05 for each in given]) <= 0.06


def spikes(generator: np.random.Generator, shape: tuple[int, int]) -> Array:
    """What is not 0 of sparse outcomes: skewed, and all on one side."""
    return generator.exponential(1.0, shape)


def gains(generator: np.random.Generator, shape: tuple[int, int]) -> Array:
    """What is not 0 of sparse differences: gains of 1 and losses of half, as often as makes them equal."""
    return np.where(generator.random(shape) < 1 / 3, 1.0, -0.5)


SPARSE = {spikes: 1.0, gains: 0.0}


@pytest.mark.parametrize(
    ("examples", "share"), [(30, 0.05), (30, 0.5), (100, 0.03), (100, 0.12), (400, 0.01), (400, 0.04)]
)
@pytest.mark.parametrize("draw", SPARSE)
def test_sparse_outcomes_have_an_interval_that_holds_or_none(draw: Draw, examples: int, share: float) -> None:
    generator = np.random.default_rng(examples)
    samples = np.where(generator.random((2000, examples)) < share, draw(generator, (2000, examples)), 0)
    truth = share * SPARSE[draw]
    found = bootstrap(list(samples))
    given = [each.interval for each in found if each.interval is not None]
    assert all(each.p is None or not each.p <= 0.05 for each in found if each.interval is None), "nor a test"
    missed = sum(not interval.low <= truth <= interval.high for interval in given)
    assert missed / len(samples) <= 0.07
    assert (len(given) > len(samples) / 2) == (examples * share >= 12), "and where there is enough, there is one"
    if examples * share < 5:
        assert len(given) < len(samples) / 50


def test_student_with_enough_of_very_many_sparse_outcomes_covers_their_mean() -> None:
    generator = np.random.default_rng(0)
    samples = np.where(generator.random((1000, 6000)) < 0.04, generator.exponential(1.0, (1000, 6000)), 0)
    assert 0.93 <= covered([each.interval for each in bootstrap(list(samples))], 0.04) <= 0.97


@pytest.mark.parametrize("examples", [30, 100, 728])
@pytest.mark.parametrize("parts", [(0.1, 0.1), (0.3, 0.1), (0.05, 0.02)])
def test_interval_of_paired_shares_covers_their_difference(examples: int, parts: tuple[float, float]) -> None:
    draws = np.random.default_rng(examples).multinomial(examples, (*parts, 1 - sum(parts)), 4000).tolist()
    intervals = [paired_shares(only_first, only_second, examples) for only_first, only_second, _ in draws]
    rare = examples * min(parts) < 2  # then there are few different outcomes, and the interval is on the safe side
    assert 0.93 <= covered(intervals, parts[0] - parts[1]) <= (1 if rare else 0.97)


@pytest.mark.parametrize("examples", [50, 728])
def test_mcnemar_finds_no_difference_where_there_is_none(examples: int) -> None:
    generator = np.random.default_rng(4)
    easy = generator.random((2000, 1, examples))  # how likely both are right on each example
    pairs = [tuple((generator.random((2, 1, examples)) < row).astype(float)) for row in easy]
    assert np.mean([p <= 0.05 for p in paired_p_values(pairs)]) <= 0.055


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_paired_t_over_seeds_finds_no_difference_where_there_is_none(seeds: int) -> None:
    draws = np.random.default_rng(seeds).normal(size=(5000, seeds)).tolist()
    assert np.mean([(paired_t(row) or 0) <= 0.05 for row in draws]) == pytest.approx(0.05, abs=0.01)


# Standard deviations of the effect of the seed, of the example, and of the rest: from seeds that change nothing, by
# those that matter as much as the drawn examples do (0.1 of 100 examples), to those that matter alone.
EFFECTS = [(0, 1, 1), (0, 0, 1), (0.05, 1, 1), (0.1, 1, 1), (0.3, 1, 1), (1, 0.5, 0.5)]


def differences(generator: np.random.Generator, seeds: int, effects: tuple[float, float, float]) -> Array:
    """2000 sets of differences of shape (seeds, 100 examples) between two methods that are equally good."""
    of_seed, of_example, rest = effects
    shape = (2000, seeds, 100)
    return (
        generator.normal(0, of_seed, (2000, seeds, 1))
        + generator.normal(0, of_example, (2000, 1, 100))
        + generator.normal(0, rest, shape)
    )


@pytest.mark.parametrize(
    "seeds", [2, 3, pytest.param(5, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("effects", EFFECTS)
def test_seeds_and_examples_together_find_no_difference_where_there_is_none(
    seeds: int, effects: tuple[float, float, float]
) -> None:
    sets = differences(np.random.default_rng(seeds), seeds, effects)
    wrong = [crossed(each) <= 0.05 for each in sets]
    assert np.mean(wrong) <= 0.062
    intervals = [paired_interval(each, np.zeros_like(each)) for each in sets[:500]]
    assert [i is not None and not i.low <= 0 <= i.high for i in intervals] == wrong[:500], "test and interval agree"


@pytest.mark.parametrize("seeds", [(2, 2), (2, 6), (3, 4), (5, 10)])
@pytest.mark.parametrize("effects", EFFECTS)
def test_other_seeds_on_each_side_find_no_difference_where_there_is_none(
    seeds: tuple[int, int], effects: tuple[float, float, float]
) -> None:
    """Of the three effects the example's is common to all runs of a side, and the others are each run's own."""
    generator, wrong = np.random.default_rng(sum(seeds)), 0
    scale = math.sqrt(0.5)  # so that the difference of two sides has the spreads in `effects`
    for _ in range(1000):
        first, second = (
            generator.normal(0, scale * effects[0], (runs, 1))
            + generator.normal(0, scale * effects[1], (1, 100))
            + generator.normal(0, scale * effects[2], (runs, 100))
            for runs in seeds
        )
        wrong += (crossed_apart(first, second) or 0.0) <= 0.05
    assert wrong / 1000 <= 0.062


@pytest.mark.parametrize("seeds", [(2, 2), (2, 3), (2, 6), (3, 10)])
@pytest.mark.parametrize("spread", [1.0, 0.1, 10.0])
def test_unpaired_t_finds_no_difference_where_there_is_none(seeds: tuple[int, int], spread: float) -> None:
    generator = np.random.default_rng(sum(seeds))
    first, second = generator.normal(size=(4000, seeds[0])), spread * generator.normal(size=(4000, seeds[1]))
    found = [unpaired_t(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert np.mean([p is not None and p <= 0.05 for p in found]) <= 0.057


def test_rows_with_one_seed_in_common_are_not_tested_on_that_one(make: Callable[..., Record]) -> None:
    """The whole way: equally good methods whose seeds differ much, of which 0 alone is common."""
    generator = np.random.default_rng(1)
    seeds = {"lora": (0, 1, 2), "sft": (0, 7, 8)}
    parted = []
    for _ in range(300):
        records = [make(name, seed=seed, loss=generator.normal(1, 0.1)) for name in seeds for seed in seeds[name]]
        (section,) = build(records).sections
        cells = [row.cells["validation_loss_nats"] for row in section.rows]
        assert all(cell.best or cell.p is not None for cell in cells), "there is a test"
        parted.append(any(not cell.best and not cell.tied for cell in cells))
    assert np.mean(parted) <= 0.07


def test_averages_over_seeds_tested_over_examples_alone_would_find_differences_that_are_not_there() -> None:
    sets = differences(np.random.default_rng(3), 3, (0.3, 1, 1)).mean(axis=1)
    assert np.mean([each.p <= 0.05 for each in bootstrap(list(sets))]) > 0.2


def test_seeds_and_examples_together_find_a_difference_that_is_there() -> None:
    sets = differences(np.random.default_rng(3), 3, (0.05, 1, 1)) + 0.5
    assert np.mean([crossed(each) <= 0.05 for each in sets]) > 0.8


def wrongly_parted(values: Array, correct: Callable[[list[float]], list[float]]) -> bool:
    """Whether any of equally good methods (rows) is said to differ from the one that came out best."""
    best = int(values.mean(axis=1).argmax())
    pairs = [(values[best][None], row[None]) for place, row in enumerate(values) if place != best]
    return min(correct(paired_p_values(pairs))) <= 0.05


@pytest.mark.parametrize("methods", [3, 8])
def test_holm_holds_the_familywise_error_although_the_data_choose_the_best(methods: int) -> None:
    generator = np.random.default_rng(methods)
    tables = [(generator.random((methods, 300)) < generator.beta(3, 2, 300)).astype(float) for _ in range(1000)]
    assert np.mean([wrongly_parted(each, holm_against_best) for each in tables]) <= 0.06


def apart(values: Array, correct: Callable[[list[float]], list[float]]) -> set[int]:
    """The methods (rows) that are said to differ from the one that came out best, by t tests over the examples."""
    best = int(values.mean(axis=1).argmax())
    others = [place for place in range(len(values)) if place != best]
    p_values = [paired_t((values[best] - values[place]).tolist()) or 0.0 for place in others]
    return {place for place, p in zip(others, correct(p_values), strict=True) if p <= 0.05}


def test_counting_only_the_comparisons_made_would_not_hold_it() -> None:
    generator = np.random.default_rng(8)
    tables = [generator.normal(size=(8, 100)) for _ in range(1500)]
    assert np.mean([bool(apart(each, holm)) for each in tables]) > 0.08
    assert np.mean([bool(apart(each, holm_against_best)) for each in tables]) <= 0.06


@pytest.mark.parametrize("worse", [1, 4, 6])
def test_holm_holds_the_familywise_error_beside_methods_that_are_worse(worse: int) -> None:
    """Once some rows are told apart, fewer comparisons are in question: the others must still be safe."""
    generator = np.random.default_rng(worse)
    shift = np.where(np.arange(8) < worse, -2.0, 0.0)[:, None]
    found = [apart(generator.normal(size=(8, 100)) + shift, holm_against_best) for _ in range(4000)]
    assert all(set(range(worse)) <= each for each in found), "what is much worse is always found"
    assert np.mean([bool(each - set(range(worse))) for each in found]) <= 0.06


def test_the_marks_of_a_table_part_equal_methods_in_one_of_twenty_at_most(make: Callable[..., Record]) -> None:
    """The whole way, from records to marks: six equal methods with three seeds each."""
    generator = np.random.default_rng(6)
    names = ["lora", "sft", "prompt", "prefix", "qlora", "dpo"]
    records = [make(name, seed=seed) for name in names for seed in range(3)]
    parted = []
    for _ in range(400):
        for record, loss in zip(records, generator.normal(1, 0.1, len(records)), strict=True):
            assert record.evaluation is not None
            record.evaluation.validation.loss = loss
        (section,) = build(records).sections
        cells = [row.cells["validation_loss_nats"] for row in section.rows]
        parted.append(any(not cell.best and not cell.tied for cell in cells))
    assert np.mean(parted) <= 0.075

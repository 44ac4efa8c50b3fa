"""Two runs, or two sets of runs, side by side: settings, environment, and every figure with its difference.

The runs of two sets are matched by method and configuration. A difference has a 95% interval wherever something
pairs the two sides: the seeds that both have, the same test examples, or both. Where nothing does, the plain
difference stands alone and says why.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.records.schema import Record
from bench.records.store import DamagedRecord
from bench.report import imported
from bench.report.columns import Column, columns
from bench.report.differences import Difference, differences, environment, settings
from bench.report.facts import standing
from bench.report.outcomes import Outcomes
from bench.report.sections import Stored
from bench.report.statistics import Interval, mean
from bench.report.visible import visible

LISTED = 8  # titles of what has no like on the other side
Runs = Mapping[Path, Record]


@dataclass(frozen=True)
class Figure:
    """A column of both sides, in the unit of the record; `difference` is the second minus the first."""

    column: Column
    first: float | None
    second: float | None
    difference: float | None = None
    ratio: float | None = None  # of costs: the second by the first
    interval: Interval | None = None  # of the difference
    basis: str = ""  # what the interval rests on, or why there is none

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.interval is not None and not self.interval.low <= 0 <= self.interval.high


@dataclass(frozen=True)
class Pair:
    """The same thing on both sides, or whatever two single runs are."""

    title: str
    first: list[Stored]
    second: list[Stored]
    settings: list[Difference]
    environment: list[Difference]
    figures: list[Figure]


@dataclass(frozen=True)
class Comparison:
    """Everything that `tunebench compare` shows."""

    names: tuple[str, str]
    pairs: list[Pair]
    only_first: list[str]
    only_second: list[str]
    damaged: list[DamagedRecord]


def compare(first: Runs, second: Runs, names: tuple[str, str] = ("A", "B")) -> Comparison:
    """Compare the records of two sides, each by its folder; two single configurations, whatever they are."""
    one, two = _groups(first), _groups(second)
    matched = [(one.pop(), two.pop())] if len(one) == len(two) == 1 else _match(one, two)
    outcomes = Outcomes()
    pairs = [_pair(*each, outcomes) for each in matched]
    return Comparison(names, pairs, [_title(g) for g in one], [_title(g) for g in two], outcomes.damaged)


def listed(titles: Sequence[str]) -> str:
    """Titles in a line: equal ones once, with their number, and no more than a reader wants to see."""
    counts = Counter(titles)
    shown = [f"{count} x {title}" if count > 1 else title for title, count in list(counts.items())[:LISTED]]
    more = [f"and {len(counts) - LISTED} more"] if len(counts) > LISTED else []
    return "; ".join([*shown, *more])


def _groups(runs: Runs) -> list[list[Stored]]:
    """Runs that differ in their seed alone, on one kind of hardware; of several with one seed as in a table."""
    found: dict[tuple[str, ...], dict[int, Stored]] = {}
    for run in sorted((Stored(record, folder) for folder, record in runs.items()), key=standing):
        record = run.record
        place = record.environment.hardware if record.environment else ""
        found.setdefault((record.method, record.group, place), {})[record.seed] = run
    return [[seeds[seed] for seed in sorted(seeds)] for seeds in found.values()]


def _match(one: list[list[Stored]], two: list[list[Stored]]) -> list[tuple[list[Stored], list[Stored]]]:
    """Take what belongs together out of both lists: by configuration, else by what the method is, else by its name."""
    ways: tuple[Callable[[Record], object], ...] = (
        lambda r: (r.method, r.group, r.environment and r.environment.hardware),
        lambda r: (r.method, r.group),
        lambda r: (r.method, r.model, r.task, json.dumps(r.config.get("method"), sort_keys=True)),
        lambda r: (r.method, r.model, r.task),
    )
    matched = []
    for way in ways:
        mine, theirs = _by_key(one, way), _by_key(two, way)
        for key in mine.keys() & theirs.keys():
            if len(mine[key]) == len(theirs[key]) == 1:
                matched.append((mine[key][0], theirs[key][0]))
                one.remove(mine[key][0])
                two.remove(theirs[key][0])
    return sorted(matched, key=lambda pair: (_title(pair[0]), pair[0][0].record.group))


def _by_key(groups: list[list[Stored]], way: Callable[[Record], object]) -> dict[object, list[list[Stored]]]:
    found: dict[object, list[list[Stored]]] = {}
    for group in groups:
        found.setdefault(way(group[0].record), []).append(group)
    return found


def _title(group: list[Stored]) -> str:
    record = group[0].record
    name = imported.label(record) if record.source else record.method
    return visible(f"{name} · {record.model} · {record.task}")


def _pair(first: list[Stored], second: list[Stored], outcomes: Outcomes) -> Pair:
    one, two = [run.record for run in first], [run.record for run in second]
    titles = dict.fromkeys((_title(first), _title(second)))
    found = [_figure(column, first, second, outcomes) for column in columns([*one, *two])]
    return Pair(
        title=" and ".join(titles),
        first=first,
        second=second,
        settings=differences(settings(one), settings(two)),
        environment=differences(environment(one), environment(two)),
        figures=[figure for figure in found if figure.first is not None or figure.second is not None],
    )


def _figure(column: Column, first: list[Stored], second: list[Stored], outcomes: Outcomes) -> Figure:
    """One column, over the seeds that both sides have, or else over all of each."""
    one, two = (
        {run.record.seed: run for run in side if column.value(run.record) is not None} for side in (first, second)
    )
    common = sorted(one.keys() & two.keys())
    left, right = ([side[seed] for seed in common or side] for side in (one, two))
    a, b = _mean(column, left), _mean(column, right)
    if a is None or b is None:
        return Figure(column, a, b, basis="on one side only")
    ratio = b / a if not column.quality and a else None
    interval, basis = _interval(column, left, right, bool(common), outcomes)
    return Figure(column, a, b, b - a, ratio, interval, basis)


def _mean(column: Column, runs: Sequence[Stored]) -> float | None:
    values = [value for run in runs if (value := column.value(run.record)) is not None]
    return mean(values) if values else None


def _interval(
    column: Column, left: list[Stored], right: list[Stored], paired: bool, outcomes: Outcomes
) -> tuple[Interval | None, str]:
    if column.exact:
        return None, "exact"
    if not paired and (len(left) > 1 or len(right) > 1):
        return None, "no seeds in common"
    if len(left) == 1:
        unpaired = imported.difference(left[0].record, right[0].record, column.key)
        if unpaired is not None:
            return unpaired, "not paired: the answers are unknown"
    return outcomes.difference(right, left, column)

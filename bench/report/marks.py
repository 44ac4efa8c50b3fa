"""What stands out in a section: the best of each column, what is tied with it, and the Pareto front."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.cells import Cell
from bench.report.columns import Column
from bench.report.outcomes import Outcomes
from bench.report.rows import Row
from bench.report.statistics import LEVEL, pareto
from bench.report.statistics.hypotheses import holm_against_best

DIRECTIONS = {"min": -1, "max": 1}


def mark_intervals(rows: Sequence[Row], column: Column, outcomes: Outcomes) -> None:
    """Give the values of single runs the interval over their examples."""
    waiting = [row for row in rows if row.cells[column.key].value is not None and not row.cells[column.key].fallback]
    waiting = [row for row in waiting if row.cells[column.key].interval is None]
    for row, interval in zip(waiting, outcomes.intervals([row.group for row in waiting], column), strict=True):
        cell = row.cells[column.key]
        cell.interval, cell.over_examples = interval, interval is not None


def mark_best(rows: Sequence[Row], column: Column, outcomes: Outcomes) -> None:
    """Mark the best value of a column and those tied with it.

    The base takes part in quality, never in costs; a validation metric is not compared with test metrics.
    """
    rivals = [(_value(row, column), row) for row in _rivals(rows, column)]
    goal, best = max(rivals, key=lambda rival: column.better * rival[0], default=(0.0, None))
    # Averages of equal numbers differ in their last bits.
    others = [row for value, row in rivals if value != goal and not math.isclose(value, goal)]
    if best is None or not others:
        return  # nothing to tell apart
    behind = {id(row) for row in others}
    for _, row in rivals:
        row.cells[column.key].best = id(row) not in behind
    if column.quality and not best.cells[column.key].fallback:
        p_values = outcomes.p_values(best.group, [row.group for row in others], column)
        _test([row.cells[column.key] for row in others], p_values)


def _test(cells: Sequence[Cell], p_values: Sequence[float | None]) -> None:
    """Write p-values into cells, with their correction for all comparisons of the column."""
    tested = [(cell, p) for cell, p in zip(cells, p_values, strict=True) if p is not None]
    for (cell, p), adjusted in zip(tested, holm_against_best([p for _, p in tested]), strict=True):
        cell.p, cell.p_adjusted, cell.tied = p, adjusted, adjusted > LEVEL


def _rivals(rows: Sequence[Row], column: Column) -> list[Row]:
    """The rows whose values in a column may be compared."""
    there = []
    for row in rows:
        value = row.cells[column.key].value
        if value is not None and row.seeds and math.isfinite(value) and (column.quality or not row.group.base):
            there.append(row)
    if column.fallback is None:
        return there
    return [row for row in there if not row.cells[column.key].fallback] or there


def _value(row: Row, column: Column) -> float:
    value = row.cells[column.key].value
    assert value is not None
    return value


@dataclass(frozen=True)
class Goal:
    """A column of a Pareto front, and which end of it is better."""

    column: Column
    direction: int

    @property
    def text(self) -> str:
        """As a note names it."""
        return f"{self.column.title} {'↑' if self.direction > 0 else '↓'}"


def goals(names: Sequence[str], columns: Sequence[Column]) -> list[Goal]:
    """What `--pareto` asks for: column keys, each with `:min` or `:max` where the column does not say itself.

    Raises:
        ValueError: a column that does not exist or comes twice, a direction that is none or is missing, or fewer than
            two columns.
    """
    keys = [name.partition(":")[0] for name in names]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None and len(names) > 1:
        raise ValueError(f"--pareto takes every column once, got {twice} {keys.count(twice)} times")
    if len(names) < 2:
        raise ValueError(f"--pareto takes two or more columns, got {', '.join(names) or 'none'}")
    return [_goal(name, {column.key: column for column in columns}) for name in names]


def _goal(name: str, columns: dict[str, Column]) -> Goal:
    key, _, said = name.partition(":")
    column = columns.get(key)
    if column is None:
        near = difflib.get_close_matches(key, columns, n=1, cutoff=0.5)
        raise ValueError(f"--pareto: there is no column {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if said and said not in DIRECTIONS:
        raise ValueError(f"--pareto: {key} takes :min or :max, got {said!r}")
    direction = DIRECTIONS.get(said, column.better)
    if not direction:
        raise ValueError(f"--pareto: neither end of {key} is better by itself; write {key}:min or {key}:max")
    return Goal(column, direction)


def mark_front(rows: Sequence[Row], wanted: Sequence[Goal]) -> None:
    """Say of every row that has all values of `wanted` on which Pareto front it lies, and which rows beat it."""
    rivals = list(rows)
    for goal in wanted:
        able = {id(row) for row in _rivals(rivals, goal.column)}
        rivals = [row for row in rivals if id(row) in able]
    points = [[_value(row, goal.column) for goal in wanted] for row in rivals]
    directions = [goal.direction for goal in wanted]
    beaten_by = pareto.dominators(points, directions)
    for row, layer, places in zip(rivals, pareto.layers(points, directions), beaten_by, strict=True):
        row.front, row.dominated_by = layer, [rivals[place].label for place in places]


def front_notes(wanted: Sequence[Goal]) -> list[str]:
    """How to read the fronts, if there are any."""
    if not wanted:
        return []
    return [
        f"front: 1 lies on the Pareto front of {', '.join(goal.text for goal in wanted)}: no row is at least as good "
        "in all of these and better in one; 2 lies on the front of what then is left, and so on."
    ]

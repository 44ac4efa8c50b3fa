"""Ranks over tasks: what a table with several tasks says of its methods as a whole."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.columns import MAIN_METRICS, Column
from bench.report.rows import Row
from bench.report.sections import Section
from bench.report.statistics.friedman import Ranking, ranking, ranks
from bench.report.table import SectionTable, Table
from bench.report.visible import visible

ALIKE = ("model", "budget", "hardware", "device", "device_name", "threads", "libraries", "tunebench_version")
FEW_TASKS = 5  # fewer than these can hardly ever part two methods


@dataclass(frozen=True)
class TaskRanks:
    """One task: which column ranks its rows, and each method's value (as in the record; None: it failed) and rank."""

    task: str
    column: Column
    values: dict[str, float | None]
    ranks: dict[str, float]


@dataclass(frozen=True)
class RankSummary:
    """Methods over the tasks that they were run on with one model, hardware and budget."""

    title: str
    ranking: Ranking
    tasks: list[TaskRanks]
    left_out: list[str]  # methods and tasks that have no part, in words

    def rows(self) -> list[list[str]]:
        """For each method, the best first: its name, its average rank, and on each task its value with its rank."""
        made = []
        for method, average in zip(self.ranking.methods, self.ranking.ranks, strict=True):
            made.append([method, f"{average:.2f}", *(_shown(task, method) for task in self.tasks)])
        return made

    def headers(self) -> list[str]:
        """Titles of what `rows` gives."""
        return ["method", "average rank", *(visible(f"{task.task}: {task.column.title}") for task in self.tasks)]

    def notes(self) -> list[str]:
        """What the ranks say, in words."""
        found = self.ranking
        p = "< 0.001" if found.p < 0.001 else f"= {found.p:.3f}"
        notes = [
            f"Average ranks over {found.tasks} tasks (1 is best; equal values share a rank, a failure is the worst). "
            f"Friedman test, by permutation: p {p}. Nemenyi's critical difference at the 5% level: "
            f"{found.critical_difference:.2f}; by less two average ranks cannot be told apart (Demšar 2006)."
        ]
        groups = "; ".join(", ".join(group) for group in found.groups)
        notes.append(f"Cannot be told apart: {groups}." if groups else "All methods can be told apart.")
        if found.tasks < FEW_TASKS:
            notes.append(f"{found.tasks} tasks are few: such a test finds only the greatest differences.")
        return notes + self.left_out


def summaries(table: Table, metric: str = "") -> list[RankSummary]:
    """One summary for each model, hardware and budget that has several tasks with methods in common.

    Args:
        table: whose rows are to be ranked; those of a tuned table are one for each method.
        metric: key of a column, or name of a test metric; empty: each task's main metric on test, else its loss.

    Raises:
        ValueError: nothing can be ranked.
    """
    alike: list[list[SectionTable]] = []
    for section in table.sections:
        fitting = next((some for some in alike if _alike(some[0].section, section.section)), None)
        if fitting is None:
            alike.append([section])
        else:
            fitting.append(section)
    found = [summary for some in alike if (summary := _summary(some, metric))]
    if not found:
        named = f" with values of {metric!r}" if metric else ""
        raise ValueError(
            "--ranks needs two tasks or more, of one model, hardware and budget, and two methods or more that were "
            f"run on all of them{named}"
        )
    return found


def _alike(one: Section, other: Section) -> bool:
    return all(one.facts[key] == other.facts[key] for key in ALIKE)


def _summary(sections: Sequence[SectionTable], metric: str) -> RankSummary | None:
    left_out, used = [], dict[str, tuple[Column, dict[str, float | None]]]()
    plain = all(len({_method(row) for row in section.rows}) == len(section.rows) for section in sections)
    for section in sections:
        task, column = section.section.heading("task"), _column(section, metric)
        if column is None:
            left_out.append(f"{task} has no values to rank.")
        elif task in used:
            left_out.append(f"{task} stands in several sections (other data or settings); the first counts.")
        else:
            used[task] = column, _values(section.rows, column, plain)
    everyone = list(dict.fromkeys(name for _, values in used.values() for name in values))
    methods = [name for name in everyone if all(name in values for _, values in used.values())]
    if len(used) < 2 or len(methods) < 2:
        return None
    if len(methods) < len(everyone):
        absent = ", ".join(name for name in everyone if name not in methods)
        left_out.append(f"Not run on every task, and left out: {absent}.")
    better = [column.better for column, _ in used.values()]
    grid = [[_goodness(values[name], column) for name in methods] for column, values in used.values()]
    tasks = []
    for (task, (column, values)), row, sign in zip(used.items(), grid, better, strict=True):
        places = dict(zip(methods, ranks([-sign * value for value in row]), strict=True))
        tasks.append(TaskRanks(task, column, {name: values[name] for name in methods}, places))
    title = " · ".join(sections[0].section.heading(key) for key in ("model", "hardware", "budget"))
    return RankSummary(title, ranking(methods, grid, better), tasks, left_out)


def _method(row: Row) -> str:
    return visible(row.group.records[0].method)


def _values(rows: Sequence[Row], column: Column, plain: bool) -> dict[str, float | None]:
    """By method, or by label where a method has several rows; None where it failed."""
    found: dict[str, float | None] = {}
    for row in rows:
        value = row.cells[column.key].value
        if row.group.base and not column.quality:
            continue
        if not row.group.ok or (value is not None and math.isfinite(value)):
            found[_method(row) if plain else row.label] = value if row.group.ok else None
    return found


def _goodness(value: float | None, column: Column) -> float:
    return -column.better * math.inf if value is None else value


def _column(section: SectionTable, metric: str) -> Column | None:
    """What ranks a section: the first column asked for that has values, all of one split."""
    keys = [metric, f"test_{metric}"] if metric else [*(f"test_{name}" for name in MAIN_METRICS), "test_loss_nats"]
    known = {column.key: column for column in section.columns if column.better}
    for key in keys if metric else [*keys, "validation_loss_nats"]:
        cells = [row.cells[key] for row in section.rows if row.group.ok] if key in known else []
        cells = [cell for cell in cells if cell.value is not None]
        if cells and len({cell.fallback for cell in cells}) == 1:
            return known[key]
    return None


def _shown(task: TaskRanks, method: str) -> str:
    value = task.values[method]
    shown = "failed" if value is None else task.column.number(value)
    return f"{shown} ({task.ranks[method]:g})"

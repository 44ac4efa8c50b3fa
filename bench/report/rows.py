"""One row of a table: the values of a configuration over its seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.records.schema import Record
from bench.report.cells import Cell
from bench.report.columns import Column
from bench.report.sections import Group
from bench.report.statistics import mean, mean_interval

DISTURBED_CORES = 0.2  # of a CPU that others kept busy: from here on a timing is not to be trusted


@dataclass
class Row:
    """One configuration, over its seeds."""

    group: Group
    cells: dict[str, Cell]  # by the column's key
    label: str
    seeds: int  # runs that the values are averaged over
    status: str
    reason: str
    trials: int | None = None  # configurations of the method that this one was picked from, by validation
    front: int | None = None  # 1 on the Pareto front that was asked for, 2 on the next; None where it has no place
    dominated_by: list[str] = field(default_factory=list)  # labels of the rows on the front that beat this one

    @property
    def outcome(self) -> str:
        """Status with, after a failure, phase and reason."""
        return f"{self.status}: {self.reason}" if self.reason else self.status


def make_row(group: Group, columns: Iterable[Column]) -> Row:
    """The row of `group`, its cells with their values and their intervals over seeds."""
    records = [run.record for run in group.measured]  # read once: a property that makes a list
    disturbed = any(r.training is not None and (r.training.foreign_cpu_cores or 0) > DISTURBED_CORES for r in records)
    cells = {column.key: _cell(records, column, disturbed) for column in columns}
    return Row(group, cells, group.label, len(group.ok), group.status, group.reason)


def _cell(records: Sequence[Record], column: Column, disturbed: bool) -> Cell:
    read = column.value
    values = [value for record in records if (value := read(record)) is not None]
    cell = Cell(column)
    if column.words is not None:
        cell.words = ", ".join(dict.fromkeys(text for text in map(column.words, records) if text))
    if not values and (instead := column.fallback) is not None:
        values = [value for record in records if (value := instead(record)) is not None]
        cell.fallback = bool(values)
    if not values:
        return cell
    cell.value = mean(values)
    if not column.exact:
        cell.interval = mean_interval(values)
    cell.disturbed = disturbed and column.kind in ("throughput", "timing")
    return cell

"""Build a table from records: sections of like things, one row for each configuration, every value with its interval.

The table is data; `bench.report.formats` and `bench.report.terminal` write it down.
"""

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bench.records.schema import Record
from bench.report.captions import caption, notes
from bench.report.cells import Cell
from bench.report.columns import Column, Value, columns
from bench.report.outcomes import Outcomes
from bench.report.sections import HEADINGS, Group, Section, Stored, split
from bench.report.selection import check_by, check_mix
from bench.report.statistics import mean_interval

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

    @property
    def outcome(self) -> str:
        """Status with, after a failure, phase and reason."""
        return f"{self.status}: {self.reason}" if self.reason else self.status


@dataclass
class SectionTable:
    """One section, ready to be written down."""

    title: str
    section: Section
    columns: tuple[Column, ...]  # all there are
    shown: tuple[Column, ...]  # those of a table for people
    rows: list[Row]
    caption: dict[str, str]
    notes: list[str]


@dataclass
class Table:
    """A whole table."""

    sections: list[SectionTable]


def build(
    records: Sequence[Record],
    folders: Sequence[Path | None] | None = None,
    by: Sequence[str] = (),
    select: Sequence[str] | None = None,
    *,
    mix: Sequence[str] = (),
) -> Table:
    """The table of `records`.

    Args:
        records: in any order.
        folders: where each record lies, in the same order; without them there are no tests on single examples.
        by: headings (model, task, hardware, budget) to order the sections by, and other keys of the records, by
            whose values they are split.
        select: keys of the columns to show, in this order, and other keys of the records; None: the usual columns
            that hold anything.
        mix: names in `bench.report.sections.MIXABLE` of what may differ within a section.

    Raises:
        ValueError: a name in `by`, `select` or `mix` that does not exist; the message offers a near one.
    """
    stored = [Stored(r, f) for r, f in zip(records, folders or [None] * len(records), strict=True)]
    check_by(by, stored)
    check_mix(mix)
    _check_columns(columns(records, select or ()), select)
    outcomes = Outcomes()
    return Table([_section(section, by, select, outcomes) for section in split(stored, by, mix)])


def _section(section: Section, by: Sequence[str], select: Sequence[str] | None, outcomes: Outcomes) -> SectionTable:
    found = columns(section.records, select or ())
    rows = sorted((_row(group, found, outcomes) for group in section.groups), key=_order)
    for column in found:
        if column.better:
            _mark_best(rows, column, outcomes)
    used = {key for row in rows for key, cell in row.cells.items() if cell.value is not None}
    shown = tuple(c for c in found if c.shown and c.key in used)
    if select is not None:
        shown = tuple(c for key in select for c in found if c.key == key)
    headings = [section.heading(key) for key in (*by, *(key for key in HEADINGS if key not in by))]
    cells = [row.cells[column.key] for row in rows for column in shown]
    said = notes(section, [cell for cell in cells if cell.value is not None], outcomes.damaged)
    return SectionTable(" · ".join(filter(None, headings)), section, found, shown, rows, caption(section), said)


def _row(group: Group, found: Iterable[Column], outcomes: Outcomes) -> Row:
    cells = {column.key: _cell(group, column, outcomes) for column in found}
    return Row(group, cells, group.label, len(group.ok), group.status, group.reason)


def _cell(group: Group, column: Column, outcomes: Outcomes) -> Cell:
    records = [run.record for run in group.measured]
    values = _values(records, column.value)
    cell = Cell(column)
    if column.words is not None:
        cell.words = ", ".join(dict.fromkeys(text for text in map(column.words, records) if text))
    if not values and column.fallback is not None:
        values = _values(records, column.fallback)
        cell.fallback = bool(values)
    if not values:
        return cell
    cell.value = fmean(values)
    if not column.exact:
        cell.interval = mean_interval(values)
        if len(values) == 1 and not cell.fallback:
            cell.interval = outcomes.interval(group, column)
            cell.over_examples = cell.interval is not None
    if column.kind in ("throughput", "timing"):
        cell.disturbed = any(
            r.training is not None and (r.training.foreign_cpu_cores or 0) > DISTURBED_CORES for r in records
        )
    return cell


def _values(records: Iterable[Record], read: Value) -> list[float]:
    return [value for value in map(read, records) if value is not None]


def _order(row: Row) -> tuple[int, int, float, str]:
    """The base first, then by validation loss; what failed altogether last."""
    failed = not row.group.ok
    loss = row.cells["validation_loss_nats"].value
    return failed, not row.group.base, math.inf if loss is None or math.isnan(loss) else loss, row.label


def _mark_best(rows: Iterable[Row], column: Column, outcomes: Outcomes) -> None:
    """Mark the best value of a column and those tied with it.

    The base takes part in quality, never in costs; a validation metric is not compared with test metrics.
    """
    own = any(not row.group.imported for row in rows)  # beside own rows imported ones are never marked
    rows = [row for row in rows if not (own and row.group.imported)]
    cells = [(row, row.cells[column.key]) for row in rows if row.group.ok and (column.quality or not row.group.base)]
    on_test = any(cell.value is not None and not cell.fallback for _, cell in cells)
    rivals = [
        (cell.value, row)
        for row, cell in cells
        if cell.value is not None and math.isfinite(cell.value) and not (on_test and cell.fallback)
    ]
    goal, best = max(rivals, key=lambda rival: column.better * rival[0], default=(0.0, None))
    if best is None or all(math.isclose(value, goal) for value, _ in rivals):
        return  # nothing to tell apart
    for value, row in rivals:
        cell = row.cells[column.key]
        if math.isclose(value, goal):  # averages of equal numbers differ in their last bits
            cell.best = True
        elif column.quality and not cell.fallback:
            cell.tied = outcomes.tied(best.group, row.group, column) is True


def _check_columns(found: Sequence[Column], select: Sequence[str] | None) -> None:
    for name in select or ():
        _known(name, [column.key for column in found], "there is no column")


def _known(name: str, names: Sequence[str], complaint: str) -> None:
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{complaint} {name!r}{hint or '; there are: ' + ', '.join(names)}")

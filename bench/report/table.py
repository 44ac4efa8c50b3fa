"""Build a table from records: sections of like things, one row for each configuration, every value with its interval.

The table is data; `bench.report.formats` and `bench.report.terminal` write it down.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.records.schema import Record
from bench.records.store import DamagedRecord
from bench.report.captions import caption, notes
from bench.report.cells import Cell
from bench.report.columns import FRONT, TRIALS, Column, columns
from bench.report.marks import Goal, front_notes, goals, mark_best, mark_front, mark_intervals
from bench.report.memo import Memo
from bench.report.outcomes import Outcomes
from bench.report.rows import Row, make_row
from bench.report.sections import HEADINGS, Section, Stored, split
from bench.report.selection import check_by, check_mix
from bench.report.tuned import Trials, check_criterion, tune, tuning_notes
from bench.report.visible import visible

if TYPE_CHECKING:
    from bench.report.ranks import RankSummary

__all__ = ["Row", "SectionTable", "Table", "build"]


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
    trials: list[Trials] = field(default_factory=list)  # of a tuned comparison: for each method
    chosen: bool = False  # somebody named the columns that are shown, in this order


@dataclass
class Table:
    """A whole table."""

    sections: list[SectionTable]
    ranks: list["RankSummary"] = field(default_factory=list)  # where they were asked for
    damaged: list[DamagedRecord] = field(default_factory=list)  # files of examples that could not be used


@dataclass(frozen=True)
class _Wanted:
    by: Sequence[str]
    select: Sequence[str] | None
    tuned: str | None
    pareto: Sequence[Goal]


def build(
    records: Sequence[Record],
    folders: Sequence[Path | None] | None = None,
    by: Sequence[str] = (),
    select: Sequence[str] | None = None,
    *,
    mix: Sequence[str] = (),
    tuned: str | None = None,
    pareto: Sequence[str] = (),
    ranks: str | None = None,
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
        tuned: of each method only the configuration that is best on validation by this metric; empty: the task's
            main one; None: all configurations.
        pareto: keys of columns, two or more, whose Pareto front is to be marked; see `bench.report.marks.goals`.
        ranks: summarise the ranks over tasks by this metric; empty: each task's main one; None: no ranks.

    Raises:
        ValueError: a name that does not exist (the message offers a near one), or ranks that cannot be had.
    """
    stored = [Stored(r, f) for r, f in zip(records, folders or [None] * len(records), strict=True)]
    check_by(by, stored)
    check_mix(mix)
    every = columns(records, select or ()) if select or pareto else ()
    extra = (*([TRIALS] if tuned is not None else []), *([FRONT] if pareto else []))
    _check_columns((*every, *extra), select)
    wanted = _Wanted(by, select, tuned, goals(pareto, every) if pareto else ())
    sections = split(stored, by, mix)
    if tuned is not None:
        check_criterion(tuned, sections)
    outcomes = Outcomes(Memo.of_user())
    table = Table([_section(section, wanted, outcomes) for section in sections], damaged=outcomes.damaged)
    outcomes.save()
    if ranks is not None:
        from bench.report.ranks import summaries

        table.ranks = summaries(table, ranks)
    return table


def _section(section: Section, wanted: _Wanted, outcomes: Outcomes) -> SectionTable:
    trials: list[Trials] = []
    if wanted.tuned is not None:
        section, trials = tune(section, wanted.tuned)
    found = columns(section.records, wanted.select or ())
    rows = sorted((make_row(group, found) for group in section.groups), key=_order)
    own = [row for row in rows if not row.group.imported]  # beside own rows imported ones are never marked
    for column in found:
        if column.outcome:
            mark_intervals(rows, column, outcomes)
        if column.better:
            mark_best(own or rows, column, outcomes)
    found += _add_extra(rows, trials, wanted, found)
    used = {key for row in rows for key, cell in row.cells.items() if cell.value is not None}
    shown = tuple(c for c in found if c.shown and c.key in used)
    if wanted.select is not None:
        asked = [*wanted.select, *(key for key in (TRIALS.key, FRONT.key) if key not in wanted.select)]
        shown = tuple(c for key in asked for c in found if c.key == key)
    headings = [section.heading(key) for key in (*wanted.by, *(key for key in HEADINGS if key not in wanted.by))]
    cells = [cell for row in rows for column in shown if (cell := row.cells[column.key]).value is not None]
    here = {run.folder for group in section.groups for run in group.runs}
    damaged = [error for error in outcomes.damaged if error.path.parent in here]
    said = [*tuning_notes(trials), *notes(section, cells, damaged)]
    said += front_notes(wanted.pareto)
    above = {name: visible(text) for name, text in caption(section).items()}
    said = [visible(note) for note in said]
    chosen = wanted.select is not None
    return SectionTable(" · ".join(filter(None, headings)), section, found, shown, rows, above, said, trials, chosen)


def _add_extra(
    rows: Sequence[Row], trials: Sequence[Trials], wanted: _Wanted, found: Sequence[Column]
) -> tuple[Column, ...]:
    """The columns that say of a row how it stands among others: the trials that it was picked from, its front."""
    extra: tuple[Column, ...] = ()
    if wanted.tuned is not None:
        counts = {each.method: each.count for each in trials}
        for row in rows:
            row.trials = None if row.group.imported else counts.get(row.group.records[0].method)
            row.cells[TRIALS.key] = Cell(TRIALS, row.trials)
        extra += (TRIALS,)
    if wanted.pareto:
        here = {column.key for column in found}
        if all(goal.column.key in here for goal in wanted.pareto):
            mark_front(rows, wanted.pareto)
        for row in rows:
            row.cells[FRONT.key] = Cell(FRONT, row.front)
        extra += (FRONT,)
    return extra


def _order(row: Row) -> tuple[int, int, float, str]:
    """The base first, then by validation loss; what failed altogether last."""
    failed = not row.group.ok
    loss = row.cells["validation_loss_nats"].value
    return failed, not row.group.base, math.inf if loss is None or math.isnan(loss) else loss, row.label


def _check_columns(found: Sequence[Column], select: Sequence[str] | None) -> None:
    for name in select or ():
        _known(name, [column.key for column in found], "there is no column")


def _known(name: str, names: Sequence[str], complaint: str) -> None:
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{complaint} {name!r}{hint or '; there are: ' + ', '.join(names)}")

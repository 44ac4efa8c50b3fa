"""A section in words: what is best, what it costs, what is as good for less, and what did not work."""

import math
from collections.abc import Sequence

from bench.report.columns import Column
from bench.report.table import Row, SectionTable


def sentences(section: SectionTable) -> list[str]:
    """What a reader should take away, each sentence for itself."""
    trained = [row for row in section.rows if row.group.ok and not row.group.base]
    found = []
    column = main_column(section)
    if column is not None and trained:
        found += _quality(section, column, trained)
        found += _cost(section, column, trained)
    found += _failures(section)
    if trained and max(row.seeds for row in trained) == 1:
        found.append("One seed each: how much the results vary from seed to seed is unknown.")
    return found


def main_column(section: SectionTable) -> Column | None:
    """The column that a section is judged by: the first main metric of the test split, else the validation loss."""
    used = [c for c in section.columns if any(row.cells[c.key].value is not None for row in section.rows)]
    rated = [c for c in used if c.quality and c.better]
    tests = [c for c in rated if c.outcome and c.rank == 1]
    return next(iter([*tests, *(c for c in rated if c.key == "validation_loss_nats"), *rated]), None)


def cost_column(section: SectionTable) -> Column | None:
    """The column that a section's costs are told by first: the peak of training, or what others reserved."""
    used = {c.key: c for c in section.columns if any(row.cells[c.key].value is not None for row in section.rows)}
    return used.get("peak_train_bytes") or used.get("peak_reserved_bytes")


def value(row: Row, column: Column) -> str:
    """A value in words: with its margin and its unit, without marks."""
    cell = row.cells[column.key]
    assert cell.value is not None
    margin = f" ±{column.number(cell.interval.margin(cell.value)).lstrip('+')}" if cell.interval else ""
    return column.number(cell.value) + margin + (f" {column.unit}" if column.unit else "")


def _quality(section: SectionTable, column: Column, trained: Sequence[Row]) -> list[str]:
    best = _extreme(trained, column)
    if best is None:
        return []
    same = [row for row in trained if _equal(row, best, column)]
    first = f"Best {column.title}: " if len(trained) > 1 else f"{column.title[0].upper()}{column.title[1:]}: "
    found = [f"{first}{', '.join(row.label for row in same)}, {value(best, column)}."]
    tied = [row.label for row in trained if row.cells[column.key].tied and not _equal(row, best, column)]
    if tied:
        found.append(f"Cannot be told apart from it: {', '.join(tied)}.")
    base = next((row for row in section.rows if row.group.base and row.cells[column.key].value is not None), None)
    if base is not None:
        found[0] = found[0][:-1] + f"; the untouched model has {value(base, column)}."
        worse = [row.label for row in trained if _better(base, row, column)]
        if worse:
            found.append(f"Not better than the untouched model: {', '.join(worse)}.")
    return found


def _cost(section: SectionTable, column: Column, trained: Sequence[Row]) -> list[str]:
    best = _extreme(trained, column)
    as_good = [row for row in trained if row is best or row.cells[column.key].tied]
    found: list[str] = []
    if len(trained) < 2:
        return found
    for key, words in (("peak_train_bytes", "least memory in training"), ("tokens_per_s", "most tokens per second")):
        cost = next((c for c in section.columns if c.key == key), None)
        first = _extreme(trained, cost) if cost else None
        if cost is None or first is None:
            continue
        text = f"{words[0].upper()}{words[1:]}: {first.label}, {value(first, cost)}"
        cheapest = _extreme(as_good, cost)
        if cheapest is not None and cheapest is not first:
            text += f"; among the best: {cheapest.label}, {value(cheapest, cost)}"
        found.append(text + ".")
    return found


def _failures(section: SectionTable) -> list[str]:
    failed = [row for row in section.rows if not row.group.ok]
    if not failed:
        return []
    each = ", ".join(f"{row.label} ({row.status})" for row in failed)
    return [f"{len(failed)} of {len(section.rows)} configurations gave no result: {each}."]


def _extreme(rows: Sequence[Row], column: Column) -> Row | None:
    values = ((row.cells[column.key].value, row) for row in rows)
    having = [(value, row) for value, row in values if value is not None and math.isfinite(value)]
    return max(having, key=lambda each: column.better * each[0], default=(0.0, None))[1]


def _equal(one: Row, other: Row, column: Column) -> bool:
    first, second = one.cells[column.key].value, other.cells[column.key].value
    return first is not None and second is not None and math.isclose(first, second)


def _better(one: Row, other: Row, column: Column) -> bool:
    first, second = one.cells[column.key].value, other.cells[column.key].value
    return first is not None and second is not None and column.better * (first - second) >= 0

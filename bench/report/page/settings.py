"""The page's data: for each section what its plots and filters need, and the runs behind its rows."""

from collections.abc import Sequence
from typing import Any

from bench.report.columns import Column
from bench.report.page import charts, curves
from bench.report.page.advice import answers
from bench.report.page.runs import Details, newest
from bench.report.page.summary import cost_column, main_column
from bench.report.table import Row, SectionTable, Table


def page_data(table: Table) -> dict[str, Any]:
    """All that the page's script reads, ready for JSON but for numbers that are not finite."""
    details = Details()
    sections = list(table.sections)
    kept = newest(run for section in sections for row in section.rows for run in row.group.runs)
    runs: list[dict[str, Any]] = []
    found = [_section(number, section, details, kept, runs) for number, section in enumerate(sections)]
    return {
        "sections": found,
        "runs": runs,
        "advice": answers(section["model"] for section in found),
        "parts": details.parts,
        "charts": {name: make() for name, make in charts.ALL.items()},
        "config": {"light": charts.config(), "dark": charts.config(dark=True)},
        "smoothed": charts.SMOOTHED,
    }


def points(section: SectionTable, x: Column, y: Column) -> list[dict[str, Any]]:
    """The rows of a Pareto plot without its front: see `charts.pareto`."""
    found = []
    for row in section.rows:
        across, up = coordinates(row, x), coordinates(row, y)
        if row.group.ok and across and up:
            named = {f"x{part}": value for part, value in zip(("", "_low", "_high"), across, strict=True)}
            named |= {f"y{part}": value for part, value in zip(("", "_low", "_high"), up, strict=True)}
            shown = {"shown_x": row.cells[x.key].text(), "shown_y": row.cells[y.key].text()}
            found.append({"label": row.label, "base": row.group.base, **named, **shown})
    return found


def coordinates(row: Row, column: Column) -> tuple[float, float, float] | None:
    """Value and ends of the interval in the shown unit; None where there is no finite value."""
    cell = row.cells[column.key]
    if cell.value is None or abs(cell.value) == float("inf") or cell.value != cell.value:
        return None
    low, high = cell.interval or (cell.value, cell.value)
    return cell.value * column.scale, low * column.scale, high * column.scale


def loss_rows(label: str, curve: curves.Curve) -> list[dict[str, Any]]:
    """The rows of a loss curve over steps: see `charts.loss`."""
    columns = zip(curve["steps"], curve["mean"], curve["low"], curve["high"], strict=True)
    return [{"label": label, "x": x, "mean": mean, "low": low, "high": high} for x, mean, low, high in columns]


def memory_rows(section: SectionTable) -> list[dict[str, Any]]:
    """Peaks by phase: see `charts.memory`. Means over the seeds, in the unit of the section's memory columns."""
    column = next(c for c in section.columns if c.key == "peak_train_bytes")
    found = []
    for order, row in enumerate(section.rows):
        highest = 0.0
        for rank, phase in enumerate(charts.PHASES):
            phases = [run.record.phase(phase) for run in row.group.measured]
            peaks = [p.peak_allocated_bytes for p in phases if p and p.peak_allocated_bytes is not None]
            if not peaks:
                continue
            peak = sum(peaks) / len(peaks)
            shown = f"{column.number(peak)} {column.unit}"
            place = {"label": row.label, "order": order, "phase": phase, "rank": rank, "shown": shown}
            place |= {"ok": bool(row.group.ok), "status": row.status}
            found.append(place | {"added": max(0.0, peak - highest) * column.scale})
            highest = max(highest, peak)
    return found


def memory_unit(section: SectionTable) -> str:
    """Of all memory columns."""
    return next(c.unit for c in section.columns if c.key == "peak_train_bytes")


def throughput_rows(section: SectionTable) -> list[dict[str, Any]]:
    """Tokens per second: see `charts.throughput`."""
    column = next(c for c in section.columns if c.key == "tokens_per_s")
    found = []
    for order, row in enumerate(section.rows):
        seen = coordinates(row, column)
        if seen and row.group.ok:
            x, low, high = seen
            place = {"label": row.label, "order": order, "shown_x": row.cells[column.key].text()}
            found.append(place | {"x": x, "x_low": low, "x_high": high})
    return found


def look(section: SectionTable) -> list[dict[str, Any]]:
    """How each row is drawn, in all plots of a section alike."""
    labels = [row.label for row in section.rows]
    return charts.styles(labels, [row.label for row in section.rows if row.group.base])


def _section(
    number: int, section: SectionTable, details: Details, kept: set[int], runs: list[dict[str, Any]]
) -> dict[str, Any]:
    rows = []
    for row in section.rows:
        links = []
        for run in row.group.runs:
            if id(run) in kept:
                links.append(len(runs))
                runs.append({"section": number, "label": row.label, **details.of(run)})
        rows.append(_row(section, row, links))
    main, cost = main_column(section), cost_column(section)
    facts = {key: section.section.heading(key) for key in ("model", "task", "hardware")}
    ok = [row for row in section.rows if row.group.ok]
    axes = [_axis(c) for c in section.columns if sum(coordinates(row, c) is not None for row in ok) > 1]
    return {
        "title": section.title,
        **facts,
        "rows": rows,
        "axes": axes,
        "look": look(section),
        "main": main.key if main else "",
        "cost": cost.key if cost else "",
        "memory": memory_rows(section),
        "memory_unit": memory_unit(section),
        "throughput": throughput_rows(section),
    }


def _row(section: SectionTable, row: Row, links: Sequence[int]) -> dict[str, Any]:
    values = {}
    for column in section.columns:
        seen = coordinates(row, column)
        if seen and row.group.ok:
            values[column.key] = [*seen, row.cells[column.key].text()]
    return {
        "label": row.label,
        "method": row.group.runs[0].record.method,
        "base": row.group.base,
        "runs": list(links),
        "values": values,
        "curve": None if row.group.base else curves.curve(row.group),
    }


def _axis(column: Column) -> dict[str, Any]:
    return {"key": column.key, "title": column.header, "better": column.better, "quality": column.quality}

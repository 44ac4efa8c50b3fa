"""The plots of every section as SVG and PNG files, for papers."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.report.columns import Column
from bench.report.page import charts, vega
from bench.report.page.curves import curve
from bench.report.page.settings import look, loss_rows, memory_rows, memory_unit, points, throughput_rows
from bench.report.page.summary import cost_column, main_column
from bench.report.statistics import pareto
from bench.report.table import SectionTable, Table

WIDTH = 640  # pixels of the SVG
SCALE = 3.0  # pixels of the PNG for each of these: about 300 dots per inch at 5.4 cm x 3
WIDE = 50  # largest over smallest value from which an axis is logarithmic


def write(table: Table, folder: Path) -> list[Path]:
    """Write all plots into `folder`, which is made if need be; returns the files.

    Raises:
        OSError: the folder or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for section, title in zip(table.sections, _slugs([section.title for section in table.sections]), strict=True):
        for name, spec in plots(section):
            place = folder / f"{title}-{name}"
            spec |= {"width": WIDTH}
            place.with_name(f"{place.name}.svg").write_text(vega.svg(spec, charts.config()), encoding="utf-8")
            place.with_name(f"{place.name}.png").write_bytes(vega.png(spec, charts.config(), SCALE))
            written += [place.with_name(f"{place.name}.{ending}") for ending in ("svg", "png")]
    return written


def plots(section: SectionTable) -> Iterator[tuple[str, charts.Spec]]:
    """The plots of a section that have anything to show, by name."""
    drawn = look(section)
    main, cost = main_column(section), cost_column(section)
    if main and cost and (rows := points(section, cost, main)):
        front = pareto.front([(row["x"], row["y"]) for row in rows], [cost.better, main.better])
        rows = [row | {"front": on} for row, on in zip(rows, front, strict=True)]
        wide = {f"log_{axis}": not c.quality and _wide(rows, axis) for axis, c in (("x", cost), ("y", main))}
        yield "pareto", _named(charts.filled("pareto", rows, drawn, _title(cost), _title(main), **wide), section)
    curves = {row.label: found for row in section.rows if not row.group.base and (found := curve(row.group))}
    if curves:
        rows = [point for label, found in curves.items() for point in loss_rows(label, found)]
        half = round(max(len(found["steps"]) for found in curves.values()) * charts.SMOOTHED)
        yield "loss", _named(charts.filled("loss", rows, drawn, "steps", "training loss (nats)", half=half), section)
    if rows := memory_rows(section):
        yield "memory", _named(charts.filled("memory", rows, drawn, f"peak memory ({memory_unit(section)})"), section)
    if rows := throughput_rows(section):
        yield "throughput", _named(charts.filled("throughput", rows, drawn, "tokens per second"), section)


def _named(spec: charts.Spec, section: SectionTable) -> charts.Spec:
    title: dict[str, Any] = {"text": section.title, "anchor": "start", "fontSize": 13, "fontWeight": "normal"}
    return spec | {"title": title}


def _title(column: Column) -> str:
    wish = {1: " (more is better)", -1: " (less is better)"}.get(column.better, "")
    return column.header + wish


def _wide(rows: list[dict[str, Any]], axis: str) -> bool:
    values = [row[key] for row in rows for key in (axis, f"{axis}_low")]
    return min(values) > 0 and max(values) / min(values) > WIDE


def _slugs(titles: Sequence[str]) -> list[str]:
    """Titles as parts of files' names, each another one; file systems may not tell capitals from small letters."""
    found: list[str] = []
    for title in titles:
        slug = re.sub(r"[^\w.]+", "-", title.lower()).strip("-.")[:100] or "section"
        number = sum(other == slug or re.fullmatch(re.escape(slug) + r"-\d+", other) is not None for other in found)
        found.append(f"{slug}-{number + 1}" if number else slug)
    return found

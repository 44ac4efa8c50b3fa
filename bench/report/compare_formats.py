"""Write a comparison down: for the terminal, as Markdown, or as JSON with every number in the unit of the record."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.records.store import plain
from bench.report.compare import Comparison, Figure, Pair, listed
from bench.report.differences import Difference
from bench.report.formats import escaped as escape_markdown
from bench.report.sections import Stored
from bench.report.visible import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

HEADS = ("figure", "A", "B", "B - A", "95% interval", "B / A", "how")
CLEAR = "Bold: the interval of the difference leaves out 0."
SHOWN = 60  # characters of a setting on the terminal


def show(comparison: Comparison, console: "Console") -> None:
    """Print a comparison."""
    from rich.text import Text

    for pair in comparison.pairs:
        console.print(Text(pair.title, style="bold"))
        for name, side, runs in zip("AB", comparison.names, (pair.first, pair.second), strict=True):
            console.print(Text(f"{name}: {side} ({_who(runs)})", style="dim"))
        console.print()
        console.print(_rich_figures(pair.figures))
        for title, found in (("Settings", pair.settings), ("Environment", pair.environment)):
            console.print(_rich_differences(title, found) if found else Text(f"{title}: no difference", style="dim"))
        console.print()
    for line in _rest(comparison):
        console.print(Text(line, style="dim"))


def markdown(comparison: Comparison) -> str:
    """GitHub-flavoured Markdown, one heading for each pair."""
    lines: list[str] = []
    for pair in comparison.pairs:
        lines += [f"### {escape_markdown(pair.title)}", ""]
        for name, side, runs in zip("AB", comparison.names, (pair.first, pair.second), strict=True):
            lines.append(f"- {name}: {escape_markdown(f'{side} ({_who(runs)})')}")
        lines += ["", *_rows(HEADS, [_bold(figure) for figure in pair.figures]), ""]
        for title, found in (("Settings", pair.settings), ("Environment", pair.environment)):
            cells = [[escape_markdown(text) for text in (d.key, d.first, d.second)] for d in found]
            lines += [*_rows((title, "A", "B"), cells), ""] if cells else [f"{title}: no difference", ""]
    return "\n".join([*lines, *(f"- {escape_markdown(line)}" for line in _rest(comparison)), ""])


def as_json(comparison: Comparison) -> str:
    """JSON; differences are B minus A."""
    found = {
        "names": list(comparison.names),
        "pairs": [_json_pair(pair) for pair in comparison.pairs],
        "only_first": comparison.only_first,
        "only_second": comparison.only_second,
    }
    return json.dumps(plain(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Comparison], str]] = {"md": markdown, "json": as_json}


def _json_pair(pair: Pair) -> dict[str, Any]:
    figures = {
        figure.column.key: {
            "first": figure.first,
            "second": figure.second,
            "difference": figure.difference,
            "ci95": figure.interval and list(figure.interval),
            "ratio": figure.ratio,
            "basis": figure.basis,
        }
        for figure in pair.figures
    }
    sides = [
        [
            {
                "run_id": visible(r.record.run_id),
                "seed": r.record.seed,
                "status": r.record.status,
                "folder": str(r.folder),
            }
            for r in runs
        ]
        for runs in (pair.first, pair.second)
    ]
    return {
        "title": pair.title,
        "first": sides[0],
        "second": sides[1],
        "figures": figures,
        "settings": [asdict(each) for each in pair.settings],
        "environment": [asdict(each) for each in pair.environment],
    }


def _who(runs: Sequence[Stored]) -> str:
    """The runs of one side: their seeds, and how they ended unless all were well."""
    seeds = ", ".join(str(run.record.seed) for run in runs)
    ends = {run.record.status: (run.record.reason or "").splitlines()[:1] for run in runs if run.record.status != "ok"}
    said = "".join(f"; {': '.join([status, *reason])[:120]}" for status, reason in ends.items())
    return visible(f"seed{'s' if len(runs) > 1 else ''} {seeds}{said}")


def _cells(figure: Figure) -> list[str]:
    column = figure.column

    def number(value: float | None, signed: bool = False) -> str:
        if value is None:
            return ""
        text = column.number(value)
        if signed:
            text = text.lstrip("+-")
            sign = "+" if value > 0 else "-"
            return f"{sign}{text}" if text.strip("0.,") else text
        return text

    interval = figure.interval
    return [
        column.header,
        number(figure.first),
        number(figure.second),
        number(figure.difference, signed=True),
        f"{number(interval.low, signed=True)} to {number(interval.high, signed=True)}" if interval else "",
        "" if figure.ratio is None else f"{figure.ratio:.3g}",
        figure.basis,
    ]


def _bold(figure: Figure) -> list[str]:
    cells = [escape_markdown(cell) for cell in _cells(figure)]
    return [*cells[:3], f"**{cells[3]}**" if figure.clear else cells[3], *cells[4:]]


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *rows)]


def _rest(comparison: Comparison) -> list[str]:
    found = [CLEAR] if any(figure.clear for pair in comparison.pairs for figure in pair.figures) else []
    for name, titles in (("A", comparison.only_first), ("B", comparison.only_second)):
        found += [f"Only in {name}: {listed(titles)}"] if titles else []
    return found + [f"Not used: {visible(str(error))}" for error in comparison.damaged]


def _rich_figures(figures: Sequence[Figure]) -> "RichTable":
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for head in HEADS:
        text = head in ("figure", "how")
        table.add_column(head, justify="left" if text else "right", no_wrap=not text)
    for figure in figures:
        cells = [Text(cell) for cell in _cells(figure)]
        if figure.clear:
            cells[3].stylize("bold")
        table.add_row(*cells)
    return table


def _rich_differences(title: str, found: Sequence[Difference]) -> "RichTable":
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for head in (title, "A", "B"):
        table.add_column(head, overflow="fold")
    for each in found:
        shown = [text if len(text) <= SHOWN else text[: SHOWN - 1] + "…" for text in (each.first, each.second)]
        table.add_row(Text(each.key), *map(Text, shown))
    return table

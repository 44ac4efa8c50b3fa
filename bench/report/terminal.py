"""A table on the terminal, fitted to its width.

What is too wide for one table becomes two, what a method gives and what it costs. Where that does not help, the
least important columns go first, and are named.
"""

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.records.schema import Record
from bench.report.columns import Column
from bench.report.table import Row, SectionTable, Table, build

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segments
    from rich.table import Table as RichTable

    from bench.report.grid import Layout
    from bench.report.ranks import RankSummary

WIDTH = 120  # where the width is unknown, as in a pipe
ESSENTIAL = 1  # rank of the columns that no table goes without
NARROW = 100  # columns of a terminal; below, the reasons of failures stand under the table
PADDING = 2  # blanks between two columns


def render_terminal(records: Sequence[Record], folders: Sequence[Path | None] | None = None, width: int = WIDTH) -> str:
    """The table of `records` as text without colours."""
    return render(build(records, folders), width)


def render(table: Table, width: int = WIDTH) -> str:
    """`table` as text without colours."""
    from rich.console import Console

    file = io.StringIO()
    show(table, Console(file=file, width=width, no_color=True, highlight=False))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def print_table(
    records: Sequence[Record], folders: Sequence[Path | None] | None = None, console: "Console | None" = None
) -> None:
    """Print the table of `records`; to standard output unless `console` says otherwise."""
    show(build(records, folders), console or make_console())


def make_console() -> "Console":
    """Standard output at the width of the terminal."""
    from rich.console import Console

    made = Console(width=shutil.get_terminal_size((WIDTH, 24)).columns, highlight=False)
    if made.legacy_windows:  # does not understand the marks in `paint`
        made = Console(width=made.width, highlight=False, color_system=None)
    return made


def paint(table: Table, console: "Console") -> str:
    """What `console` would print of `table`, with the marks for styles that it understands."""
    console.file = file = io.StringIO()
    show(table, console)
    return file.getvalue()


def show(table: Table, console: "Console") -> None:
    """Print every section of `table` with its caption and notes."""
    from rich.text import Text

    for number, section in enumerate(table.sections):
        console.print(*[""] * bool(number), Text(section.title, style="bold"), sep="\n")
        left_out: list[Column] = []
        for place, block in enumerate(blocks(section, console)):
            columns, missing = fit(section, block, console, ends=place == 0)
            left_out += missing
            if place:
                console.print()
            console.print(_grid(section, columns, console, ends=place == 0), end="")
        _show_reasons(section, console)
        for name, text in section.caption.items():
            console.print(Text.assemble((f"{name}: ", "bold"), text, style="dim"))
        notes = list(section.notes)
        if left_out:
            names = ", ".join(column.key for column in left_out)
            notes.append(f"Left out for want of width: {names}. A wider terminal, --columns or --format md shows them.")
        _show_notes(notes, console)
    for summary in table.ranks:
        console.print("", Text(f"Ranks over tasks · {summary.title}", style="bold"), sep="\n")
        console.print(_rank_table(summary))
        _show_notes(summary.notes(), console)


def _show_reasons(section: SectionTable, console: "Console") -> None:
    """Why runs failed, below the table where that is too narrow for it."""
    if console.width < NARROW:
        _show_notes([f"{row.label}: {row.outcome}" for row in section.rows if row.reason], console)


def _show_notes(notes: Sequence[str], console: "Console") -> None:
    from rich.padding import Padding
    from rich.text import Text

    for note in notes:
        console.print(Padding(Text(note, style="dim"), (0, 0, 0, 2)))


def blocks(section: SectionTable, console: "Console") -> list[list[Column]]:
    """All columns as one block if they fit the console's width; else quality and cost apart.

    What matters most, and does not fit even then, has a block of its own. Columns that somebody named keep their order, in as many blocks as they need.
    """
    columns = list(section.shown)
    if not fit(section, columns, console, ends=True)[1]:
        return [columns]
    if not section.chosen:
        made: list[list[Column]] = []
        for half in ([c for c in columns if c.quality], [c for c in columns if not c.quality]):
            missing = [c for c in fit(section, half, console, ends=not made)[1] if c.rank <= ESSENTIAL]
            made += [part for part in ([c for c in half if c not in missing], missing) if part]
        return made
    found: list[list[Column]] = [[]]
    for column in columns:
        if found[-1] and fit(section, [*found[-1], column], console, ends=len(found) == 1)[1]:
            found.append([])
        found[-1].append(column)
    return found


def fit(
    section: SectionTable, columns: list[Column], console: "Console", ends: bool
) -> tuple[list[Column], list[Column]]:
    """The columns that fit the console's width, in order, and those left out.

    `ends` says that the number of seeds and the status stand at the end of the line.
    """
    from bench.report.grid import GAP

    kept, left_out = list(columns), list[Column]()
    widths = {column.key: layout.width for column, layout in zip(columns, _layouts(section, columns), strict=True)}
    fixed = [layout.width for layout in (_label(section, console), *(_ends(section, console) if ends else ()))]
    while kept:
        every = [*fixed, *(widths[column.key] for column in kept)]
        if sum(every) + GAP * (len(every) - 1) <= console.width:
            break
        last = max(reversed(kept), key=lambda column: column.rank)
        kept.remove(last)
        left_out.insert(0, last)
    return kept, left_out


def _grid(section: SectionTable, columns: list[Column], console: "Console", ends: bool) -> "Segments":
    from rich.style import Style

    from bench.report.grid import Field, draw

    layouts = [_label(section, console), *_layouts(section, columns), *(_ends(section, console) if ends else ())]
    rows = []
    for row in section.rows:
        style = Style(dim=True) if row.group.base or not row.group.ok else None
        best = Style(bold=True, color="green") + style
        cells = [Field(_text(row, c), best if row.cells[c.key].best else style) for c in columns]
        last = [Field(str(row.seeds), style), Field(_outcome(row, console), style)] if ends else []
        rows.append([Field(row.label, style), *cells, *last])
    return draw(layouts, rows, console)


def _label(section: SectionTable, console: "Console") -> "Layout":
    from bench.report.grid import Layout, width_of

    width = width_of(["method", *(row.label for row in section.rows)])
    return Layout("method", min(width, console.width // 2), right=False)


def _layouts(section: SectionTable, columns: Sequence[Column]) -> list["Layout"]:
    from bench.report.grid import Layout, width_of

    heads = [(column, _header(column)) for column in columns]
    return [Layout(head, width_of([head, *(_text(row, column) for row in section.rows)])) for column, head in heads]


def _ends(section: SectionTable, console: "Console") -> list["Layout"]:
    """The number of seeds, and the status, in which a longer reason is folded."""
    from bench.report.grid import Layout, width_of

    status = width_of(["status", *(_outcome(row, console) for row in section.rows)])
    seeds = width_of(["n", *(str(row.seeds) for row in section.rows)])
    return [Layout("n", seeds), Layout("status", min(status, 40, console.width // 4), right=False)]


def _outcome(row: Row, console: "Console") -> str:
    """The status, with the reason where there is room."""
    return row.status if console.width < NARROW else row.outcome


def _text(row: Row, column: Column) -> str:
    """A cell; what a method costs stands without its margin, to save width."""
    return row.cells[column.key].text(margin=column.quality)


def _header(column: Column) -> str:
    """Title and unit in lines as short as the words allow."""
    return "\n".join([*column.title.split(), *([column.unit] if column.unit else [])])


def _rank_table(summary: "RankSummary") -> "RichTable":
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(box=box.SIMPLE_HEAD, padding=(0, PADDING, 0, 0), pad_edge=False, show_edge=False)
    for place, title in enumerate(summary.headers()):
        made.add_column(Text(title), justify="right" if place else "left", overflow="fold")
    for row in summary.rows():
        made.add_row(*map(Text, row))
    return made

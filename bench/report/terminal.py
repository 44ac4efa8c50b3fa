"""A table on the terminal, fitted to its width.

What is too wide for one table becomes two, what a method gives and what it costs. Where that does not help, the
least important columns go first, and are named.
"""

import io
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.records.schema import Record
from bench.report.columns import Column
from bench.report.table import Row, SectionTable, Table, build

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

    from bench.report.ranks import RankSummary

WIDTH = 120  # where the width is unknown, as in a pipe
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

    return Console(width=shutil.get_terminal_size((WIDTH, 24)).columns, highlight=False)


def show(table: Table, console: "Console") -> None:
    """Print every section of `table` with its caption and notes."""
    from rich.text import Text

    for number, section in enumerate(table.sections):
        console.print(*[""] * bool(number), Text(section.title, style="bold"), sep="\n")
        left_out: list[Column] = []
        for place, block in enumerate(blocks(section, console)):
            columns, missing = fit(section, block, console, ends=place == 0)
            left_out += missing
            console.print(*[""] * bool(place), _rich_table(section, columns, console.width, ends=place == 0), sep="\n")
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


def _show_notes(notes: Sequence[str], console: "Console") -> None:
    from rich.padding import Padding
    from rich.text import Text

    for note in notes:
        console.print(Padding(Text(note, style="dim"), (0, 0, 0, 2)))


def blocks(section: SectionTable, console: "Console") -> list[list[Column]]:
    """All columns as one block if they fit the console's width, else quality and cost apart."""
    columns = list(section.shown)
    if not fit(section, columns, console, ends=True)[1]:
        return [columns]
    halves = [c for c in columns if c.quality], [c for c in columns if not c.quality]
    return [half for half in halves if half]


def fit(
    section: SectionTable, columns: list[Column], console: "Console", ends: bool
) -> tuple[list[Column], list[Column]]:
    """The columns that fit the console's width, in order, and those left out.

    `ends` says that the number of seeds and the status stand at the end of the line.
    """
    kept, left_out = list(columns), list[Column]()
    widths = {column.key: _width(_header(column), (_text(row, column) for row in section.rows)) for column in columns}
    fixed = [_width("method", (row.label for row in section.rows))]
    if ends:
        status = _width("status", (row.outcome for row in section.rows))
        fixed += [_width("n", (str(row.seeds) for row in section.rows)), min(status, _status_width(console.width))]
    while kept:
        every = [*fixed, *(widths[column.key] for column in kept)]
        if sum(every) + (PADDING + 1) * (len(every) - 1) <= console.width:  # a column of the box is between two columns
            break
        last = max(reversed(kept), key=lambda column: column.rank)
        kept.remove(last)
        left_out.insert(0, last)
    return kept, left_out


def _width(header: str, texts: Iterable[str]) -> int:
    """Columns of the terminal that the longest line needs; rich would measure the same in a hundred times as long."""
    from rich.cells import cell_len

    return max(cell_len(line) for text in (header, *texts) for line in text.splitlines() or [""])


def _status_width(width: int) -> int:
    """Characters for the status, in which a longer reason is wrapped."""
    return min(40, width // 4)


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


def _rich_table(section: SectionTable, columns: list[Column], width: int, ends: bool) -> "RichTable":
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(box=box.SIMPLE_HEAD, padding=(0, PADDING, 0, 0), pad_edge=False, show_edge=False)
    made.add_column("method", no_wrap=True, vertical="top")
    for column in columns:
        made.add_column(_header(column), justify="right", no_wrap=True)
    if ends:
        made.add_column("n", justify="right")
        made.add_column("status", overflow="fold", max_width=_status_width(width))
    for row in section.rows:
        cells = [Text(_text(row, c), style="bold green" if row.cells[c.key].best else "") for c in columns]
        style = "dim" if row.group.base or not row.group.ok else ""
        made.add_row(Text(row.label), *cells, *((str(row.seeds), Text(row.outcome)) if ends else ()), style=style)
    return made

"""A table on the terminal, fitted to its width: the least important columns go first, and are named."""

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
    from rich.padding import Padding
    from rich.text import Text

    for number, section in enumerate(table.sections):
        columns, left_out = fit(section, console.width)
        console.print(*[""] * bool(number), Text(section.title, style="bold"), sep="\n")
        console.print(_rich_table(section, columns, console.width))
        for name, text in section.caption.items():
            console.print(Text.assemble((f"{name}: ", "bold"), text, style="dim"))
        notes = list(section.notes)
        if left_out:
            names = ", ".join(column.key for column in left_out)
            notes.append(f"Left out for want of width: {names}. A wider terminal, --columns or --format md shows them.")
        for note in notes:
            console.print(Padding(Text(note, style="dim"), (0, 0, 0, 2)))


def fit(section: SectionTable, width: int) -> tuple[list[Column], list[Column]]:
    """The columns that fit into `width` characters, in order, and those left out."""
    kept, left_out = list(section.shown), list[Column]()
    fixed = max(len(row.label) for row in section.rows) + len("n") + 3 * PADDING
    fixed += min(_status_width(width), max(len("status"), *(len(row.outcome) for row in section.rows)))
    while kept and fixed + sum(_width(section, column) + PADDING for column in kept) > width:
        last = max(reversed(kept), key=lambda column: column.rank)
        kept.remove(last)
        left_out.insert(0, last)
    return kept, left_out


def _status_width(width: int) -> int:
    """Characters for the status, in which a longer reason is wrapped."""
    return min(40, width // 4)


def _text(row: Row, column: Column) -> str:
    """A cell; what a method costs stands without its margin, to save width."""
    return row.cells[column.key].text(margin=column.quality)


def _header(column: Column) -> str:
    """Title and unit in lines as short as the words allow."""
    return "\n".join([*column.title.split(), *([column.unit] if column.unit else [])])


def _width(section: SectionTable, column: Column) -> int:
    lines = _header(column).split("\n")
    return max(len(text) for text in [*lines, *(_text(row, column) for row in section.rows)])


def _rich_table(section: SectionTable, columns: list[Column], width: int) -> object:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(box=box.SIMPLE_HEAD, padding=(0, PADDING, 0, 0), pad_edge=False, show_edge=False)
    made.add_column("method", no_wrap=True, vertical="top")
    for column in columns:
        made.add_column(_header(column), justify="right", no_wrap=True)
    made.add_column("n", justify="right")
    made.add_column("status", overflow="fold", max_width=_status_width(width))
    for row in section.rows:
        cells = [Text(_text(row, c), style="bold green" if row.cells[c.key].best else "") for c in columns]
        style = "dim" if row.group.base or not row.group.ok else ""
        made.add_row(Text(row.label), *cells, str(row.seeds), Text(row.outcome), style=style)
    return made

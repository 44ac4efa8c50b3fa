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

    width, height = shutil.get_terminal_size((WIDTH, 24))
    made = Console(width=width, height=height, highlight=False)
    if made.legacy_windows:  # does not understand the marks in `paint`
        made = Console(width=width, height=height, highlight=False, color_system=None)
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
        sheet = Sheet(section, console)
        for place, block in enumerate(sheet.blocks()):
            columns, missing = sheet.fit(block, ends=place == 0)
            left_out += missing
            if place:
                console.print()
            console.print(sheet.grid(columns, ends=place == 0), end="")
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


class Sheet:
    """A section on a console: its texts and how wide they are, worked out once.

    Args:
        section: what is to be shown.
        console: on which; only its width counts.
    """

    def __init__(self, section: SectionTable, console: "Console") -> None:
        from bench.report.grid import Layout, width_of

        self.section, self.console, self.width = section, console, console.width
        self._texts = {column.key: [_text(row, column) for row in section.rows] for column in section.shown}
        heads = {column.key: _header(column) for column in section.shown}
        self._layouts = {key: Layout(head, width_of([head, *self._texts[key]])) for key, head in heads.items()}
        label = width_of(["method", *(row.label for row in section.rows)])
        self._label = Layout("method", min(label, self.width // 2), right=False)
        self._outcomes = [_outcome(row, self.width) for row in section.rows]
        status = min(width_of(["status", *self._outcomes]), 40, self.width // 4)  # a longer reason is folded
        seeds = width_of(["n", *(str(row.seeds) for row in section.rows)])
        self._ends = [Layout("n", seeds), Layout("status", status, right=False)]

    def blocks(self) -> list[list[Column]]:
        """All columns as one block if they fit; else quality and cost apart.

        What matters most, and does not fit even then, has a block of its own. Columns that somebody named keep their
        order, in as many blocks as they need.
        """
        columns = list(self.section.shown)
        if not self.fit(columns, ends=True)[1]:
            return [columns]
        if self.section.chosen:
            return self._in_order(columns)
        made: list[list[Column]] = []
        for half in ([c for c in columns if c.quality], [c for c in columns if not c.quality]):
            missing = [c for c in self.fit(half, ends=not made)[1] if c.rank <= ESSENTIAL]
            made += [part for part in ([c for c in half if c not in missing], missing) if part]
        return made

    def _in_order(self, columns: list[Column]) -> list[list[Column]]:
        found: list[list[Column]] = [[]]
        for column in columns:
            if found[-1] and self.fit([*found[-1], column], ends=len(found) == 1)[1]:
                found.append([])
            found[-1].append(column)
        return found

    def fit(self, columns: list[Column], ends: bool) -> tuple[list[Column], list[Column]]:
        """The columns that fit the console's width, in order, and those left out.

        `ends` says that the number of seeds and the status stand at the end of the line.
        """
        from bench.report.grid import GAP

        kept, left_out = list(columns), list[Column]()
        while kept:
            widths = [layout.width for layout in self._columns(kept, ends)]
            if sum(widths) + GAP * (len(widths) - 1) <= self.width:
                break
            last = max(reversed(kept), key=lambda column: column.rank)
            kept.remove(last)
            left_out.insert(0, last)
        return kept, left_out

    def grid(self, columns: list[Column], ends: bool) -> "Segments":
        """The lines of the table with these columns."""
        from rich.style import Style

        from bench.report.grid import Field, draw

        rows, best = [], Style(bold=True, color="green")
        for place, row in enumerate(self.section.rows):
            style = Style(dim=True) if row.group.base or not row.group.ok else Style()
            cells = [
                Field(self._texts[c.key][place], best + style if row.cells[c.key].best else style) for c in columns
            ]
            last = [Field(str(row.seeds), style), Field(self._outcomes[place], style)] if ends else []
            rows.append([Field(row.label, style), *cells, *last])
        return draw(self._columns(columns, ends), rows, self.console)

    def _columns(self, columns: list[Column], ends: bool) -> list["Layout"]:
        return [self._label, *(self._layouts[column.key] for column in columns), *(self._ends if ends else ())]


def _outcome(row: Row, width: int) -> str:
    """The status, with the reason where there is room."""
    return row.status if width < NARROW else row.outcome


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

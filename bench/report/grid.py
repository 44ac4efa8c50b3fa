"""The lines of a table on the terminal, as rich draws them with its box SIMPLE_HEAD, in a tenth of rich's time.

Rich measures, wraps and styles every cell by itself, which takes seconds for thousands of rows.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style
from rich.text import Text

GAP = 3  # blanks between two columns
BOLD = Style(bold=True)


class Field(NamedTuple):
    """A text of the table and how it looks."""

    text: str
    style: Style = Style()


class Layout(NamedTuple):
    """A column: its heading, how wide it is, and whether it holds numbers, which end in line."""

    heading: str
    width: int
    right: bool = True


def width_of(texts: Iterable[str]) -> int:
    """Columns of the terminal that the longest line of `texts` needs."""
    return max((cell_len(line) for text in texts for line in text.splitlines()), default=0)


def draw(columns: Sequence[Layout], rows: Iterable[Sequence[Field]], console: Console) -> Segments:
    """What the console prints: headings, a rule, and each row on as many lines as its longest cell is folded into."""
    segments: list[Segment] = []
    depth = max(column.heading.count("\n") for column in columns) + 1
    titles = [column.heading.split("\n") for column in columns]
    for line in zip(*([""] * (depth - len(title)) + title for title in titles), strict=True):
        segments += _line(columns, [Field(part, BOLD) for part in line])
    rule = "─" * (sum(column.width for column in columns) + GAP * (len(columns) - 1))
    segments += [Segment(rule[: console.width]), Segment.line()]
    for row in rows:
        folded = [_folded(field, column.width, console) for field, column in zip(row, columns, strict=True)]
        for line in zip_longest(*folded, fillvalue=Field("")):
            segments += _line(columns, line)
    return Segments(segments)


def _folded(field: Field, width: int, console: Console) -> list[Field]:
    """The lines of a cell that is wider than its column."""
    if cell_len(field.text) <= width:
        return [field]
    return [Field(line.plain.rstrip(), field.style) for line in Text(field.text).wrap(console, width, overflow="fold")]


def _line(columns: Sequence[Layout], fields: Sequence[Field]) -> Iterator[Segment]:
    """One line; blanks have no style, and none end it."""
    blank = 0
    for column, (text, style) in zip(columns, fields, strict=True):
        rest = column.width - cell_len(text)
        if text:
            yield Segment(" " * (blank + rest * column.right))
            yield Segment(text, style)
            blank = 0 if column.right else rest
        else:
            blank += rest
        blank += GAP
    yield Segment.line()

"""Rows to examples: the first row tells the format, or the settings do, and every later row is held to it."""

from collections.abc import Iterable, Iterator

from bench.config import Data
from bench.data.example import Example
from bench.data.formats.conversations import conversations_of
from bench.data.formats.convert import convert
from bench.data.formats.detect import detect, other, unknown
from bench.data.rows import DataError, Row


class Examples(Iterator[Example | DataError]):
    """The examples of rows, in their order; an error stands in the place of a row that cannot be used.

    Attributes:
        format: one of `bench.config.task.FORMATS`; None until a row tells it.
    """

    def __init__(self, rows: Iterable[Row | DataError], settings: Data, where: str) -> None:
        self.format: str | None = None if settings.format == "auto" else settings.format
        self._rows, self._turns, self._where = rows, settings.turns, where
        self._found = self._flat()

    def __next__(self) -> Example | DataError:
        """The next example, or the error about the next row."""
        return next(self._found)

    def by_row(self) -> Iterator[tuple[Row, list[Example]] | DataError]:
        """Each row with its examples, in place of the examples alone; a conversation of a text file is a row."""
        empty = True
        for row in self._rows:
            empty = False
            if isinstance(row, DataError):
                yield row
                continue
            self.format = self.format or detect(row.fields)
            for part in conversations_of(row) if self.format == "transcript" else [row]:
                try:
                    yield part, self._examples(part)
                except DataError as error:
                    yield error
        if empty:
            raise DataError(self._where, "at least one row", "none")

    def _flat(self) -> Iterator[Example | DataError]:
        for item in self.by_row():
            if isinstance(item, DataError):
                yield item
            else:
                yield from item[1]

    def _examples(self, row: Row) -> list[Example]:
        if self.format is None:
            raise unknown(row)
        if (error := other(row, self.format)) is not None:
            raise error
        return convert(row, self.format, self._turns)


def examples(rows: Iterable[Row | DataError], settings: Data, where: str = "data") -> Examples:
    """The examples of rows: in the format that `data.format` states, or in that of the first row that has one.

    Args:
        rows: of one source; an error among them is passed on.
        settings: `format` and `turns` count here.
        where: how the error about a source without rows calls it.
    """
    return Examples(rows, settings, where)

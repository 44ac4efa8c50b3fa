"""Rows with the text that a model would see of them."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.config import Data
from bench.data import formats, sources
from bench.data.example import Example
from bench.data.leakage import whole_text
from bench.data.rows import DataError, Row


@dataclass
class Read:
    """A row with its examples: one, or one for every answer of a conversation; `text` is that of the last."""

    row: Row
    examples: list[Example]

    @property
    def name(self) -> str:
        """Where it stands."""
        return self.row.place

    @property
    def text(self) -> str:
        """Question and answer, with what was said before them."""
        return whole_text(self.examples[-1])

    @property
    def pair(self) -> str:
        """The same with the rejected answer, where there is one: what makes a row another than one that is like it."""
        return "\n".join(filter(None, (self.text, self.examples[-1].rejected)))


class Rows:
    """The rows of a location with their examples; `format` is known from the first row on."""

    def __init__(self, settings: Data, location: str = "") -> None:
        self.settings, self.location = settings, location or settings.train
        self.format = ""

    def __iter__(self) -> Iterator[Read | DataError]:
        """Yield a row with its examples, or the error that says why it has none.

        Raises:
            ValueError: the location cannot be read, or a row cannot be used and `on_error` is `stop`.
        """
        found = formats.examples(sources.rows(self.location, self.settings), self.settings, where=self.location)
        for item in found.by_row():
            self.format = found.format or ""
            if isinstance(item, DataError) and self.settings.on_error == "stop":
                raise item
            yield item if isinstance(item, DataError) else Read(*item)

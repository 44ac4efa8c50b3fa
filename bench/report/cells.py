"""One value of a table with its interval and its marks, still in the unit of the record."""

from dataclasses import dataclass

from bench.report.columns import Column
from bench.report.statistics import Interval

TIED, DISTURBED, FALLBACK = "≈", "†", "ᵛ"


@dataclass(slots=True)
class Cell:
    """One value of a row; `value` is None where nothing was measured."""

    column: Column
    value: float | None = None
    interval: Interval | None = None
    best: bool = False
    tied: bool = False  # cannot be told apart from the best: p_adjusted says so
    p: float | None = None  # of the paired test against the best of the column
    p_adjusted: float | None = None  # after correction for all comparisons of the column
    disturbed: bool = False
    over_examples: bool = False  # the interval is over test examples, not over seeds
    fallback: bool = False  # a validation metric in place of a test metric
    words: str = ""  # in a column of texts: those of all runs

    def text(self, margin: bool = True) -> str:
        """The value as shown, with its margin and marks; empty where there is none."""
        if self.value is None:
            return self.words
        shown = self.column.number(self.value)
        if margin and self.interval is not None:
            shown += f" ±{self.column.number(self.interval.margin(self.value)).lstrip('+')}"
        marks = ((self.fallback, FALLBACK), (self.tied, TIED), (self.disturbed, DISTURBED))
        return shown + "".join(f" {mark}" for given, mark in marks if given)

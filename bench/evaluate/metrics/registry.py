"""How a metric is defined: a function, its version and its direction.

A change of a metric's meaning raises its version, which tables show.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.evaluate.outcome import Outcome

PerExample = Callable[[str, Sequence[str]], float]
OverSplit = Callable[[Sequence[Outcome]], float]
OfOutcome = Callable[[Outcome], float]


@dataclass(frozen=True)
class Definition:
    """A registered metric."""

    name: str
    version: int
    higher_is_better: bool
    over_split: OverSplit | None
    each: OfOutcome | None
    signature: Callable[[], str]
    of_text_loss: bool  # computed from the loss of a text
    doc: str

    def compute(self, outcomes: Sequence[Outcome]) -> tuple[float, list[float] | None]:
        """The value over a split, and each example's part in it where there is one."""
        parts = None if self.each is None else [self.each(outcome) for outcome in outcomes]
        if self.over_split is not None:
            return self.over_split(outcomes), parts
        assert parts is not None
        return fmean(parts), parts


REGISTRY: dict[str, Definition] = {}


def metric(
    version: int, higher_is_better: bool = True, signature: Callable[[], str] = str
) -> Callable[[PerExample], PerExample]:
    """Register a function `(prediction, references) -> float` under its name; the metric is its mean.

    Args:
        version: of the metric's meaning.
        higher_is_better: its direction.
        signature: gives the settings of the library that computes it, for the record.
    """

    def register(function: PerExample) -> PerExample:
        def each(outcome: Outcome) -> float:
            return function(outcome.prediction or "", outcome.references)

        _add(function.__name__, version, higher_is_better, None, each, signature, False, function.__doc__)
        return function

    return register


def split_metric(
    version: int,
    higher_is_better: bool = True,
    each: OfOutcome | None = None,
    signature: Callable[[], str] = str,
    of_text_loss: bool = False,
) -> Callable[[OverSplit], OverSplit]:
    """Register a function of all outcomes of a split, which is no mean over the examples.

    Args:
        version: of the metric's meaning.
        higher_is_better: its direction.
        each: an example's own part, for paired tests; None where there is none.
        signature: gives the settings of the library that computes it, for the record.
        of_text_loss: whether it is computed from the loss of a text, which a classifier has not.
    """

    def register(function: OverSplit) -> OverSplit:
        _add(function.__name__, version, higher_is_better, function, each, signature, of_text_loss, function.__doc__)
        return function

    return register


def _add(
    name: str,
    version: int,
    higher: bool,
    over_split: OverSplit | None,
    each: OfOutcome | None,
    signature: Callable[[], str],
    of_text_loss: bool,
    doc: str | None,
) -> None:
    assert name not in REGISTRY, f"there are two metrics {name!r}"
    assert doc, f"the metric {name!r} needs a docstring"
    REGISTRY[name] = Definition(name, version, higher, over_split, each, signature, of_text_loss, doc)

"""What is said of a candidate that has no trace: why, in words; and where only tracing failed, its memory all the same.

That is by the closed form, which is instant and less exact: of memory alone, with its own wider interval.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.advise.candidates import Candidate, question
from bench.advise.closed_form import closed_form
from bench.advise.memory import CONTEXT_SPREAD, Estimate, Verdict
from bench.advise.request import Request
from bench.advise.trace import NotTraceable

if TYPE_CHECKING:
    from bench.advise.card import Card

# The child that traces answers with the words of a method that refuses a model, and with the class before the words of
# whatever was raised; for a child that died or took too long `bench.advise.tracer` speaks.
_RAISED = re.compile(r"([A-Z]\w*(?:Error|Exception|Exit|Interrupt|Warning)): ?(.*)", re.DOTALL)
_NO_ANSWER = ("the process that traces it ended", "it could not be traced within")


@dataclass(frozen=True)
class Rough:
    """The memory of a device by the closed form, with so many rows at once."""

    rows: int
    device: Estimate
    verdict: Verdict


def why(error: NotTraceable) -> tuple[str, bool]:
    """The reason in words, and whether tracing failed; else it is refused, and could not be run either."""
    said = str(error)
    raised = _RAISED.fullmatch(said)
    if raised is None:
        return (f"tracing failed: {said}", True) if said.startswith(_NO_ANSWER) else (said, False)
    name, words = raised.groups()
    if name == ValueError.__name__ and words:  # of the harness or of the configuration, and says what is wrong
        return words, True
    return f"tracing failed{f': {words}' if words else ', and nothing says why'}", True


def rough(candidate: Candidate, request: Request, card: "Card", most: int, seq: int = 0) -> Rough | None:
    """The memory with the most rows at once that fit surely, one row at least; None where the closed form has none.

    Args:
        candidate: the way to train.
        request: what is asked; its `rows`, where given, are not changed.
        card: where it runs.
        most: rows at once to begin with, a power of two.
        seq: another length of the longest row.
    """
    rows = request.rows or most
    while (device := instant(candidate, request, rows, card, seq)) is not None and request.gpus == 1:
        found = Rough(rows, device, device.verdict(card.memory_bytes))
        if found.verdict is Verdict.FITS or request.rows or rows == 1:
            return found
        rows //= 2
    return None


def instant(candidate: Candidate, request: Request, rows: int, card: "Card", seq: int = 0) -> Estimate | None:
    """What is allocated by the closed form, and the card's context; of one device, without fragmentation."""
    found = closed_form(question(candidate, request, rows, card, seq))
    if found is None:
        return None
    context, spread = card.context_bytes, CONTEXT_SPREAD * card.context_bytes
    return Estimate(found.value + context, found.low + context - spread, found.high + context + spread)

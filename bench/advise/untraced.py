"""What is said of a candidate that has no trace: why, in words; and where only tracing failed, its memory all the same.

That is by the closed form, which is instant and less exact: of memory alone, with its own wider interval.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.advise.candidates import Candidate, question
from bench.advise.closed_form import closed_form
from bench.advise.memory import CONTEXT_SPREAD, Estimate, Verdict
from bench.advise.request import Request

if TYPE_CHECKING:
    from bench.advise.card import Card


@dataclass(frozen=True)
class Rough:
    """The memory of a device by the closed form, with so many rows at once."""

    rows: int
    device: Estimate
    verdict: Verdict


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

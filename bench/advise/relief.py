"""What would help where nothing fits, and how long the rows could be: found by tracing, not by rules of thumb."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.advise import candidates as listing
from bench.advise.memory import Verdict
from bench.advise.outlook import GROWING, Figures, Outlook, Tracer, predict
from bench.advise.recommend import Answer, Choice
from bench.advise.request import Request, positions
from bench.advise.units import hours, size

if TYPE_CHECKING:
    from bench.advise.card import Card

STEP = 64  # tokens: lengths are told in multiples of it
TRACES = 4  # for one longest length
CLOSE = 0.95  # a length that fits is near enough where this much more does not
BEYOND = 131_072  # tokens: longer ones are not looked for
MEMORY, UNLIMITED = "the card's memory", f"nothing up to {BEYOND:,} tokens"  # what stops longer rows
OFFLOADED = ("weights", "gradients", "optimizer")  # what DeepSpeed's ZeRO-3 can keep in the host's memory


@dataclass(frozen=True)
class Longest:
    """The figures with the longest rows that fit, whose length is in their `seq`, and what stops longer ones."""

    figures: Figures
    stopped_by: str


def longest(outlook: Outlook, request: Request, card: "Card", tracer: Tracer) -> Longest | None:
    """The longest rows that fit, with as many at once as the outlook has; None where none do."""
    assert outlook.figures is not None
    start = outlook.figures if outlook.figures.fits else outlook.least or outlook.figures
    fixed = replace(request, rows=start.rows)
    places = positions(request.model.part)
    most = min(places or BEYOND, BEYOND) // STEP * STEP
    good, last, bad = (start if start.fits else None), start, (None if start.fits else start.seq)
    stopped_by = MEMORY if bad else f"the model's {places:,} positions" if 0 < places <= BEYOND else UNLIMITED
    for _ in range(TRACES):
        low, high = good.seq if good else 0, min(bad or most + STEP, most + STEP)
        seq = max(low + STEP, min(_guess(last, card), high - STEP)) // STEP * STEP
        if seq <= low or seq >= high or (good and bad and good.seq > CLOSE * bad):
            break
        [found] = predict([outlook.candidate], fixed, card, tracer, seq)
        if found.figures is not None and found.figures.fits:
            good = last = found.figures
        else:
            bad, last = seq, found.figures or last
            stopped_by = MEMORY if found.figures else found.reason
    else:
        stopped_by = stopped_by if bad else f"nothing that was found with {TRACES} traces"
    return Longest(good, stopped_by) if good else None


def _guess(found: Figures, card: "Card") -> int:
    """The length at which the upper bound would reach the card's memory, if what grows did so in proportion."""
    growing = sum(found.memory.breakdown.get(part, 0) for part in GROWING)
    room = card.memory_bytes - (found.memory.device.high - growing)
    return int(found.seq * room / growing) if growing > 0 else found.seq


@dataclass(frozen=True)
class Relief:
    """One thing that would help, in a sentence, and what the sentence rests on."""

    text: str
    evidence: str = "traced"


def relief(answer: Answer, request: Request, card: "Card", tracer: Tracer, cards: Sequence["Card"]) -> list[Relief]:
    """What would help, given that nothing can be taken.

    Args:
        answer: without a best.
        request: what was asked.
        card: where it does not run.
        tracer: answers questions.
        cards: all that are known, to look for a bigger one.
    """
    traced = [each for each in answer.choices if each.outlook.figures is not None]
    if not traced:
        return _untraced(answer)
    hard = ("merge", "share", "checkpoint")
    able = [each for each in traced if not any(kind in each.obstacles for kind in hard)]
    if not able:
        return [Relief(_without(traced))]
    fitting = [each for each in able if "memory" not in each.obstacles]
    if fitting:
        return _in_time(min(fitting, key=lambda each: each.figures.hours.value), request, card, cards)
    return _in_memory(able, request, card, tracer, cards)


def _untraced(answer: Answer) -> list[Relief]:
    """What would fit if the closed form is right."""
    fitting = [each for each in answer.choices if each.outlook.rough and each.outlook.rough.verdict is Verdict.FITS]
    names = ", ".join(each.label for each in fitting)
    return [Relief(f"To try with `tunebench run`: {names}.", "closed form")] if fitting else []


def _without(traced: Sequence[Choice]) -> str:
    """Which of the conditions rule out everything, and who would do without them."""
    kinds = {"merge": "--must-merge", "share": "--must-share", "checkpoint": "--max-checkpoint"}
    named = [option for kind, option in kinds.items() if any(kind in each.obstacles for each in traced)]
    free = [each for each in traced if not set(each.obstacles) - set(kinds)]
    if not free:
        return f"No method that could be run meets {' and '.join(named)}, and without it nothing fits either."
    least = min(free, key=lambda each: each.figures.trace.checkpoint_bytes)
    why = "; ".join(least.obstacles.values())
    return f"Without {' and '.join(named)}: {least.label} ({why})."


def _in_time(fastest: Choice, request: Request, card: "Card", cards: Sequence["Card"]) -> list[Relief]:
    """It fits, but takes too long."""
    from bench.advise.outlook import figures

    found = fastest.figures
    examples = int(request.examples * request.epochs * request.hours / found.hours.value)
    helps = [
        Relief(f"{fastest.label} is the fastest that fits, and takes {hours(found.hours.value)}.", "roofline"),
        Relief(f"In {hours(request.hours)} it sees about {examples:,} examples (--examples, --epochs).", "roofline"),
    ]
    for other in _by_memory(cards, card.family):
        made = figures(found.trace, found.rows, found.seq, request, other)
        if made.fits and made.hours.high <= request.hours:
            text = f"On {other.title} the same would take {hours(made.hours.value)}."
            return [*helps, Relief(text, "roofline")]
    return helps


def _in_memory(
    able: Sequence[Choice], request: Request, card: "Card", tracer: Tracer, cards: Sequence["Card"]
) -> list[Relief]:
    """It does not fit."""
    smallest = min(able, key=lambda each: _least(each).memory.device.high)
    need = _least(smallest)
    helps: list[Relief] = []
    if request.rows > 1:
        fewer = predict([smallest.outlook.candidate], replace(request, rows=1), card, tracer)[0].figures
        if fewer is not None:
            verdict = "which fits" if fewer.fits else "which is still too much"
            text = f"--batch 1: {smallest.label} would need {size(fewer.memory.device.value)}, {verdict}."
            helps.append(Relief(text))
            need = fewer
    elif (shorter := longest(smallest.outlook, request, card, tracer)) is not None:
        helps.append(Relief(f"Shorter rows: {smallest.label} fits with --seq {shorter.figures.seq}."))
    if request.methods:
        helps += _others(request, card, tracer)
    held = sum(need.memory.breakdown.get(part, 0) for part in OFFLOADED)
    helps.append(
        Relief(
            f"Offloading: {size(held)} of the {size(need.memory.device.value)} are weights, gradients and optimizer, "
            "which DeepSpeed's ZeRO-3 can keep in the host's memory (launch.accelerate=FILE); how slow that would be "
            "is not predicted.",
        )
    )
    bigger = smallest_card(need, cards, card.family)
    if bigger is None:
        helps.append(Relief(f"A bigger card: no card in the list holds {size(need.memory.device.value)}."))
    else:
        where = f"{bigger.title} ({size(bigger.memory_bytes)}), the smallest that holds it"
        helps.append(Relief(f"A bigger card: {smallest.label} fits on {where}."))
    return helps


def _others(request: Request, card: "Card", tracer: Tracer) -> list[Relief]:
    """Methods that were not asked for and would fit."""
    every = listing.candidates(replace(request, methods=()))
    others = [each for each in every if each.title not in request.methods]
    found = [each for each in predict(others, request, card, tracer) if each.figures is not None and each.figures.fits]
    if not found:
        return []
    names = ", ".join(dict.fromkeys(each.candidate.label for each in found))
    return [Relief(f"Another method: {names} would fit.")]


def smallest_card(need: Figures, cards: Iterable["Card"], family: str) -> "Card | None":
    """The smallest card on which it fits."""
    return next((each for each in _by_memory(cards, family) if _fits(need, each)), None)


def _fits(need: Figures, card: "Card") -> bool:
    from bench.advise.memory import estimate

    return estimate(need.trace, card.context_bytes).device.high <= card.memory_bytes


def _least(choice: Choice) -> Figures:
    return choice.outlook.least or choice.figures


def _by_memory(cards: Iterable["Card"], family: str) -> list["Card"]:
    return sorted((card for card in cards if card.family == family), key=lambda card: card.memory_bytes)

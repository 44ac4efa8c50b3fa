"""Why one candidate is recommended, and what would change that, in words."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.advise.memory import Estimate
from bench.advise.outlook import EFFICIENCY, Figures, time_evidence
from bench.advise.recommend import Answer, Choice, best_quality
from bench.advise.relief import smallest_card
from bench.advise.request import Request
from bench.advise.units import hours, size

if TYPE_CHECKING:
    from bench.advise.card import Card

PARTS = 3  # of the memory at the peak that are named
LESS = 0.95  # of the memory that another needs: only then it is named as one that needs less


def reasons(answer: Answer, request: Request, card: "Card") -> list[str]:
    """Why the best one is."""
    best = answer.best
    assert best is not None
    found = best.figures
    memory = found.memory
    parts = sorted(memory.breakdown.items(), key=lambda part: -part[1])[:PARTS]
    named = ", ".join(f"{name} {size(value)}" for name, value in parts if value)
    fit = "It fits" if found.fits else "It may just fit"
    said = [
        f"{fit}: {_range(memory.device, size)} of {size(card.memory_bytes)} with {_at_once(found)} "
        f"[{memory.evidence}]. "
        f"The most of it: {named}; the peak is at {memory.peak_operation}.",
        _quality(best, answer),
        _time(best, answer, request),
        f"Its checkpoint is {size(found.trace.checkpoint_bytes)} [{memory.evidence}]; {_capabilities(best)}.",
    ]
    if request.gpus > 1:
        said.append(
            f"With {request.gpus} GPUs each holds the whole model and a share of the step; that each keeps "
            f"{EFFICIENCY:.0%} of its speed is an assumption."
        )
    return said


def _quality(best: Choice, answer: Answer) -> str:
    quality = best.quality
    if not quality.known:
        return "How well it learns is not known: nothing was measured, and nothing published is known for it."
    peers = [each for each in answer.choices if not each.obstacles and each is not best]
    tied = dict.fromkeys(
        each.outlook.candidate.title
        for each in best_quality([*peers, best])
        if each.outlook.candidate.title != best.outlook.candidate.title
    )
    where = quality.evidence if quality.evidence == "prior" else f"{quality.evidence}: {quality.where}"
    also = f"; {', '.join(tied)} cannot be told apart from it" if tied else ""
    return f"Nothing else that can be run is known to learn better: {quality.text} [{where}]{also}."


def _time(best: Choice, answer: Answer, request: Request) -> str:
    found = best.figures
    peers = [each for each in answer.choices if not each.obstacles and each is not best]
    same = best_quality([*peers, best])
    first = ", the fastest of these," if len(same) > 1 else ""
    limit = f", within the {hours(request.hours)} given" if request.hours and found.hours.high <= request.hours else ""
    return (
        f"It takes {_range(found.hours, hours)}{first} for {request.examples:,} examples x {request.epochs:g}"
        f"{limit} [{time_evidence(found)}]; {found.speed.bound} bounds it."
    )


def _capabilities(choice: Choice) -> str:
    candidate = choice.outlook.candidate
    merge = "the result can be merged into one model" if candidate.mergeable else "it cannot be merged into the model"
    share = "several can share one base" if candidate.shares_base else "each result is a model of its own"
    return f"{merge}, and {share}"


def changes(answer: Answer, request: Request, card: "Card", cards: Sequence["Card"]) -> list[str]:
    """What would make another one the best."""
    best = answer.best
    assert best is not None
    able = [each for each in answer.choices if not each.obstacles and each is not best]
    return [
        *_bigger(best, answer, card, cards),
        *_smaller(best, able),
        *_faster(best, able),
        *_constraints(best, able, request),
        *(["Knowing how well each learns on your task: `tunebench sweep` measures it."] if _guessed(best) else []),
    ]


def _bigger(best: Choice, answer: Answer, card: "Card", cards: Sequence["Card"]) -> list[str]:
    """A larger card, for one that learns better or, no worse, has less to do."""
    kept_out = [each for each in answer.choices if set(each.obstacles) == {"memory"}]
    better = [each for each in kept_out if each.quality.better(best.quality)]
    same = [each for each in kept_out if each.quality.scale == best.quality.scale]
    alike = [each for each in same if not best.quality.better(each.quality)]
    other = min(
        better or [each for each in alike if each.figures.hours.value < best.figures.hours.value],
        key=lambda each: each.figures.memory.device.value,
        default=None,
    )
    if other is None:
        return []
    need = other.outlook.least or other.figures
    bigger = smallest_card(need, cards, card.family)
    where = f"; {bigger.title} is the smallest card that holds it" if bigger else "; no card in the list holds it"
    why = "which is known to learn better" if other in better else "which has less to compute"
    return [f"More memory: {other.label}, {why}, needs {size(need.memory.device.value)} with {_at_once(need)}{where}."]


def _smaller(best: Choice, able: Sequence[Choice]) -> list[str]:
    """Less memory than it needs with as many rows at once."""
    need = best.figures.memory.device.high
    least = min(able, key=lambda each: each.figures.memory.device.high, default=best)
    helps = ["fewer rows at once (--batch)"] if best.figures.rows > 1 else []
    if least.figures.memory.device.high < LESS * need:
        helps.append(f"{least.label}, {size(least.figures.memory.device.high)} with {_at_once(least.figures)}")
    return [f"Less memory than {size(need)}: {', or '.join(helps) or 'nothing else that can be run'}."]


def _faster(best: Choice, able: Sequence[Choice]) -> list[str]:
    """Less time."""
    quick = min(able, key=lambda each: each.figures.hours.value, default=None)
    if quick is None or quick.figures.hours.value >= best.figures.hours.value:
        return []
    return [
        f"Less time than {hours(best.figures.hours.value)}: {quick.label} takes {hours(quick.figures.hours.value)}; "
        f"quality: {quick.quality.text} [{quick.quality.evidence}]."
    ]


def _constraints(best: Choice, able: Sequence[Choice], request: Request) -> list[str]:
    """Conditions that were not set."""
    said = []
    small = min(able, key=lambda each: each.figures.trace.checkpoint_bytes, default=None)
    own = best.figures.trace.checkpoint_bytes
    if small is not None and small.figures.trace.checkpoint_bytes < own:
        said.append(f"A checkpoint below {size(own)}: {small.label}, {size(small.figures.trace.checkpoint_bytes)}.")
    merged = next((each for each in able if each.outlook.candidate.mergeable), None)
    if not best.outlook.candidate.mergeable and not request.must_merge and merged is not None:
        said.append(f"If the result must be one merged model (--must-merge): {merged.label}.")
    return said


def _guessed(best: Choice) -> bool:
    return best.quality.evidence in ("prior", "unknown")


def _at_once(found: Figures) -> str:
    return f"{found.rows} row{'s' if found.rows != 1 else ''} at once"


def _range(found: Estimate, shown: Callable[[float], str]) -> str:
    return f"{shown(found.value)} ({shown(found.low)} to {shown(found.high)})"

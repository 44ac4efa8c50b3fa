"""From outlooks to one recommendation: what is asked for rules out, what is left is ordered, and the first is it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.advise.memory import Verdict
from bench.advise.outlook import Figures, Outlook
from bench.advise.quality import UNKNOWN, Quality
from bench.advise.request import Request
from bench.advise.units import hours, size


@dataclass(frozen=True)
class Choice:
    """A candidate as it stands in the answer.

    Attributes:
        outlook: what is predicted of it.
        quality: what is known of how well it learns.
        obstacles: why it cannot be taken, by kind: `trace`, `memory`, `hours`, `checkpoint`, `merge`, `share`.
        tight: it may be too much, as far as the prediction goes: `memory`, `hours`.
        front: whether no other that can be taken is as good in quality, memory and time, and better in one.
    """

    outlook: Outlook
    quality: Quality = UNKNOWN
    obstacles: dict[str, str] = field(default_factory=dict)
    tight: tuple[str, ...] = ()
    front: bool = False

    @property
    def label(self) -> str:
        """Of the candidate."""
        return self.outlook.candidate.label

    @property
    def figures(self) -> Figures:
        """What is predicted, where anything is."""
        assert self.outlook.figures is not None
        return self.outlook.figures


@dataclass(frozen=True)
class Answer:
    """All candidates in order, and the one that is recommended, if any can be taken."""

    choices: list[Choice]
    best: Choice | None


def recommend(outlooks: Sequence[Outlook], quality: dict[str, Quality], request: Request) -> Answer:
    """The answer: who cannot be told apart from the best in quality is ordered by time, then by memory.

    What fits surely goes before what may not.
    """
    choices = [_choice(each, quality.get(each.candidate.title, UNKNOWN), request) for each in outlooks]
    able = [each for each in choices if not each.obstacles]
    front = {id(each) for each in able if not any(_dominates(other, each) for other in able)}
    choices = [
        Choice(each.outlook, each.quality, each.obstacles, each.tight, front=id(each) in front) for each in choices
    ]
    able = [each for each in choices if not each.obstacles]
    surely = [each for each in able if not each.tight] or able
    ordered = sorted(best_quality(surely), key=_cost)
    best = ordered[0] if ordered else None
    return Answer(sorted(choices, key=lambda each: _place(each, best)), best)


def best_quality(choices: Sequence[Choice]) -> list[Choice]:
    """Those that cannot be told apart from the best; all where nothing is known of any."""
    known = [each for each in choices if each.quality.known]
    if not known:
        return list(choices)
    best = max(known, key=lambda each: each.quality.score).quality
    return [each for each in known if not best.better(each.quality)]


def _choice(outlook: Outlook, quality: Quality, request: Request) -> Choice:
    candidate, found = outlook.candidate, outlook.figures
    obstacles: dict[str, str] = {}
    tight: list[str] = []
    if found is None:
        return Choice(outlook, quality, {"trace": outlook.reason})
    if found.verdict is Verdict.DOES_NOT_FIT:
        obstacles["memory"] = f"needs {size(found.memory.device.value)}"
    elif found.verdict is Verdict.TIGHT:
        tight.append("memory")
    if request.hours and found.hours.value > request.hours:
        obstacles["hours"] = f"takes {hours(found.hours.value)}"
    elif request.hours and found.hours.high > request.hours:
        tight.append("hours")
    if request.checkpoint_bytes and found.trace.checkpoint_bytes > request.checkpoint_bytes:
        obstacles["checkpoint"] = f"checkpoint of {size(found.trace.checkpoint_bytes)}"
    if request.must_merge and not candidate.mergeable:
        obstacles["merge"] = "cannot be merged into one model"
    if request.must_share and not candidate.shares_base:
        obstacles["share"] = "changes the base, which several results cannot share"
    return Choice(outlook, quality, obstacles, tuple(tight))


def _dominates(one: Choice, other: Choice) -> bool:
    """Whether `one` is nowhere worse and somewhere better; qualities that cannot be compared decide nothing."""
    comparable = one.quality.scale == other.quality.scale
    if not comparable or other.quality.better(one.quality):
        return False
    memory = one.figures.memory.device.value, other.figures.memory.device.value
    time = one.figures.hours.value, other.figures.hours.value
    better = bool(one.quality.better(other.quality)) or memory[0] < memory[1] or time[0] < time[1]
    return memory[0] <= memory[1] and time[0] <= time[1] and better


def _cost(choice: Choice) -> tuple[float, float]:
    return choice.figures.hours.value, choice.figures.memory.device.value


def _place(choice: Choice, best: Choice | None) -> tuple[int, float, float, str]:
    """The recommended one first, then what can be taken, what cannot, and what nothing is known of."""
    if choice.outlook.figures is None:
        return 3 if choice.outlook.rough else 4, 0.0, 0.0, choice.label
    rank = 0 if choice is best else 2 if choice.obstacles else 1
    return rank, -choice.quality.score if choice.quality.known else 1e9, choice.figures.hours.value, choice.label

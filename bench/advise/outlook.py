"""What each candidate will need and take: the largest micro batch that fits, found with few traces, and its figures.

The peak of a step is a part that does not depend on the rows at once (weights, gradients, optimizer) and one that
grows with them. So the search begins where the closed form says, and goes on from each trace to what it says of more
rows or of fewer. What is shown is traced; where that fails it is the closed form's, and says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.advise.candidates import Candidate, question
from bench.advise.memory import Estimate, Memory, Verdict, estimate
from bench.advise.request import Request
from bench.advise.trace import NotTraceable, Question, Trace, TracingFailed
from bench.advise.untraced import Rough, instant, rough

if TYPE_CHECKING:
    from bench.advise.card import Card
    from bench.advise.speed import Speed

Tracer = Callable[[Sequence[Question]], list[Trace | NotTraceable]]
GROWING = ("activations", "logits", "workspace", "fragmentation")  # parts of the memory that more rows make larger
DOUBT = 0.9  # twice the rows are tried where the estimate, times this, fits
# Of several GPUs: the share of the speed of one that each keeps while gradients are exchanged. An assumption, not
# measured here; data-parallel training of adapters loses less, that of all weights over a slow link more.
EFFICIENCY = 0.9
DDP_BYTES = 4  # torch's DDP holds every float32 gradient a second time, in buckets


@dataclass(frozen=True)
class Figures:
    """What is predicted of a candidate with so many rows at once, the longest of `seq` tokens."""

    rows: int
    seq: int
    trace: Trace
    memory: Memory
    speed: "Speed"
    hours: Estimate
    verdict: Verdict

    @property
    def fits(self) -> bool:
        """Whether it fits surely."""
        return self.verdict is Verdict.FITS


@dataclass(frozen=True)
class Outlook:
    """A candidate with what is predicted of it; without figures `reason` says why, and `rough` may have its memory."""

    candidate: Candidate
    figures: Figures | None
    least: Figures | None = None  # with the fewest rows that were traced
    reason: str = ""
    traced: tuple[Figures, ...] = ()  # with every number of rows that was tried
    rough: Rough | None = None


def predict(
    candidates: Sequence[Candidate], request: Request, card: "Card", tracer: Tracer, seq: int = 0
) -> list[Outlook]:
    """The outlook of each candidate, in their order.

    Args:
        candidates: the ways to train.
        request: what is asked.
        card: where it runs.
        tracer: answers questions, as `bench.advise.tracer.traces` does.
        seq: another length of the longest row.
    """
    most = request.batch_size // request.gpus
    most = request.rows or most & -most  # a power of two, as all that are tried
    searches = []
    for each in candidates:
        rows = request.rows or _start(each, request, card, most, seq)
        searches.append(_Search(each, rows, most, fixed=bool(request.rows)))
    while waiting := [search for search in searches if search.rows]:
        asked = [question(search.candidate, request, search.rows, card, seq) for search in waiting]
        for search, answer in zip(waiting, tracer(asked), strict=True):
            if isinstance(answer, NotTraceable):
                failed = isinstance(answer, TracingFailed)
                search.stop(str(answer), rough(search.candidate, request, card, most, seq) if failed else None)
            else:
                trace = _per_device(answer, request, card)
                search.take(figures(trace, search.rows, seq or request.seq, request, card), card)
    return [search.outlook() for search in searches]


def _per_device(trace: Trace, request: Request, card: "Card") -> Trace:
    """The trace as one of several devices has it, with what data-parallel training adds; a CPU has no allocator."""
    if card.family == "cpu":
        trace = replace(trace, allocated_bytes=trace.live_bytes, reserved_bytes=trace.live_bytes)
    if request.gpus == 1:
        return trace
    buckets = DDP_BYTES * trace.trainable_parameters
    return replace(
        trace,
        allocated_bytes=trace.allocated_bytes + buckets,
        reserved_bytes=trace.reserved_bytes + buckets,
        breakdown=trace.breakdown | {"gradients": trace.breakdown["gradients"] + buckets},
    )


def figures(trace: Trace, rows: int, seq: int, request: Request, card: "Card") -> Figures:
    """What a trace means on a card, for the whole training."""
    from bench.advise import speed

    memory = estimate(trace, card.context_bytes)
    found = speed.estimate(trace, card)
    alone = speed.hours(found, request.examples, request.epochs, request.batch_size // request.gpus, request.gpus)
    slower = 1 / EFFICIENCY if request.gpus > 1 else 1.0
    time = Estimate(alone.value * slower, alone.low * slower, alone.high * slower)
    return Figures(rows, seq, trace, memory, found, time, memory.verdict(card.memory_bytes))


def time_evidence(found: Figures) -> str:
    """What the time rests on."""
    return f"roofline of the trace, {found.speed.evidence} constants"


@dataclass
class _Search:
    """Bisection for the rows at once of one candidate; `rows` are to be traced next, 0 at the end."""

    candidate: Candidate
    rows: int
    most: int
    fixed: bool
    good: Figures | None = None  # the most rows that fit
    bad: Figures | None = None  # the fewest that do not
    least: Figures | None = None
    reason: str = ""
    traced: tuple[Figures, ...] = ()
    rough: Rough | None = None

    def stop(self, reason: str, instead: Rough | None) -> None:
        """No figures to be had with these rows."""
        self.reason, self.rough, self.rows = reason, instead, 0

    def take(self, found: Figures, card: "Card") -> None:
        """Learn from a trace."""
        self.traced += (found,)
        self.least = found if self.least is None or found.rows < self.least.rows else self.least
        if found.fits:
            self.good = found
        else:
            self.bad = found
        self.rows = self._next(card)

    def _next(self, card: "Card") -> int:
        if self.good is None:
            assert self.bad is not None
            fewer = self.bad.rows // 2
            while fewer > 1 and scaled(self.bad, fewer) > card.memory_bytes:
                fewer //= 2
            return 0 if self.fixed else fewer
        above = self.bad.rows // 2 if self.bad else self.most
        if above <= self.good.rows:
            return 0
        if scaled(self.good, 2 * self.good.rows) * DOUBT > card.memory_bytes:
            return 0
        while above > 2 * self.good.rows and scaled(self.good, above) > card.memory_bytes:
            above //= 2
        return above

    def outlook(self) -> Outlook:
        found = self.good or self.bad
        if found is None:
            return Outlook(self.candidate, None, reason=self.reason, rough=self.rough)
        return Outlook(self.candidate, found, self.least, traced=self.traced)


def scaled(found: Figures, rows: float) -> float:
    """Upper bound of the memory with another number of rows at once, estimated: what grows with them, grows alike."""
    growing = sum(found.memory.breakdown.get(part, 0) for part in GROWING)
    return found.memory.device.high + growing * (rows / found.rows - 1)


def _start(candidate: Candidate, request: Request, card: "Card", most: int, seq: int) -> int:
    """The most rows at once that fit by the closed form; one where that knows nothing."""
    rows = most
    while rows > 1:
        about = instant(candidate, request, rows, card, seq)
        if about is not None and about.verdict(card.memory_bytes) is not Verdict.DOES_NOT_FIT:
            return rows
        rows //= 2
    return rows

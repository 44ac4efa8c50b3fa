"""A prediction as a record keeps it: a trace of the run's own question, with the intervals of its figures."""

import time
from dataclasses import asdict

from bench import __version__
from bench.advise import cards, speed, tracer
from bench.advise.card import Card
from bench.advise.closed_form import closed_form
from bench.advise.memory import CPU_ABOVE, CPU_BELOW, Estimate, estimate
from bench.advise.trace import NotTraceable, Question, Trace, TracingFailed
from bench.records.schema import Environment, PredictedBytes, PredictedSeconds, Prediction


def predict(question: Question, card: Card | None = None) -> Prediction:
    """Ask the tracer, which answers from its cache or takes some seconds.

    Args:
        question: of the run.
        card: that it runs on; None if there are no facts of it, and then no time and no memory of the whole device.
    """
    began = time.perf_counter()
    try:
        [found] = tracer.traces([question])
    except OSError as error:  # no process can be started
        found = TracingFailed(str(error))
    made = prediction(question, found, card)
    made.seconds = time.perf_counter() - began
    return made


def prediction(question: Question, found: Trace | NotTraceable, card: Card | None = None) -> Prediction:
    """What a trace says of the memory of a run, and with a card of its time, or why there is none."""
    made = Prediction(asdict(question.workload), tunebench_version=__version__)
    if isinstance(found, NotTraceable):
        made.reason = str(found)
        instead = closed_form(question)
        if instead is not None:
            made.evidence, made.allocated_bytes = "closed form", _bytes(instead)
        return made
    made.evidence, made.breakdown = "traced", dict(found.breakdown)
    if card is not None and times_itself(card) and found.operations:
        step = speed.estimate(found, card).step
        made.step_s = PredictedSeconds(step.value, step.low, step.high)
    if question.device == "cpu":
        live = found.live_bytes
        made.live_bytes = _bytes(Estimate(live, live * (1 - CPU_BELOW), live * (1 + CPU_ABOVE)))
        return made
    memory = estimate(found, 0 if card is None else card.context_bytes)
    made.allocated_bytes, made.reserved_bytes = _bytes(memory.allocated), _bytes(memory.reserved)
    made.device_bytes = None if card is None else _bytes(memory.device)
    return made


def times_itself(card: Card) -> bool:
    """Whether a card's facts tell a time: processors differ so much that only a calibrated one's do."""
    return card.family != "cpu" or card.constants.evidence != "default"


def card_of(environment: Environment | None) -> Card | None:
    """The card of a run, or None if there are no facts of it."""
    if environment is None:
        return None
    on_cpu = environment.device == "cpu"
    size = environment.host_memory_bytes if on_cpu else environment.device_memory_bytes
    try:
        return cards.load("cpu" if on_cpu else environment.device_name, size)
    except ValueError:
        return None


def _bytes(found: Estimate) -> PredictedBytes:
    return PredictedBytes(round(found.value), round(found.low), round(found.high))

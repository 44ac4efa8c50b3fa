"""A prediction as a record keeps it: a trace of the run's own question, with the intervals of its figures."""

import time
from dataclasses import asdict

from bench import __version__
from bench.advise import tracer
from bench.advise.memory import ABOVE, BELOW, Estimate, estimate
from bench.advise.trace import NotTraceable, Question, Trace
from bench.records.schema import PredictedBytes, Prediction


def predict(question: Question, context_bytes: int | None = None) -> Prediction:
    """Ask the tracer, which answers from its cache or takes some seconds.

    Args:
        question: of the run.
        context_bytes: what CUDA itself takes on the card; None where the card is not known.
    """
    began = time.perf_counter()
    try:
        [found] = tracer.traces([question])
    except OSError as error:  # no process can be started
        found = NotTraceable(str(error))
    made = prediction(question, found, context_bytes)
    made.seconds = time.perf_counter() - began
    return made


def prediction(question: Question, found: Trace | NotTraceable, context_bytes: int | None = None) -> Prediction:
    """What a trace says of the memory of a run, or why there is none."""
    made = Prediction(asdict(question.workload), tunebench_version=__version__)
    if isinstance(found, NotTraceable):
        made.reason = str(found)
        return made
    made.evidence, made.breakdown = "traced", dict(found.breakdown)
    if question.device == "cpu":
        live = found.live_bytes
        made.live_bytes = _bytes(Estimate(live, live * (1 - BELOW), live * (1 + ABOVE)))
        return made
    memory = estimate(found, context_bytes or 0)
    made.allocated_bytes, made.reserved_bytes = _bytes(memory.allocated), _bytes(memory.reserved)
    made.device_bytes = None if context_bytes is None else _bytes(memory.device)
    return made


def _bytes(found: Estimate) -> PredictedBytes:
    return PredictedBytes(round(found.value), round(found.low), round(found.high))

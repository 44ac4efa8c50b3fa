"""Predictions beside what was measured: one point for each figure of a run that both know.

A run of tunebench brings the prediction that it made before it trained. For an imported run one is made now, from its
configuration; so it is for own runs, from their configuration and batches, where that is asked for.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.advise.baselines import BASELINES, Facts
from bench.advise.card import Card
from bench.advise.closed_form import closed_form
from bench.advise.predict import card_of, prediction
from bench.advise.questions import PEFT_LONGEST, question_of
from bench.advise.sizes import sizes
from bench.advise.trace import NotTraceable, Question, Trace
from bench.config.run import from_dict
from bench.objective import of
from bench.records.schema import PredictedBytes, PredictedSeconds, Prediction, Record, Status

OURS, CLOSED = "tunebench", "tunebench, closed form"
FIGURES = {
    "reserved": "peak memory that the CUDA allocator held",
    "allocated": "peak memory in use on CUDA",
    "device": "peak memory of the whole CUDA device",
    "live": "peak memory in use on a CPU",
    "step": "time of a step",
}
BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0, "int4": 0.5}
Answer = Trace | NotTraceable
Tracer = Callable[[Sequence[Question]], list[Answer]]


@dataclass(frozen=True)
class Point:
    """One figure of one run.

    Attributes:
        run_id: of the run.
        method: its name.
        model: its name.
        card: the hardware it ran on.
        figure: one of `FIGURES`.
        measured: bytes or seconds.
        predicted: by each estimator; None where that has nothing to say.
        low: of our prediction.
        high: of our prediction.
    """

    run_id: str
    method: str
    model: str
    card: str
    figure: str
    measured: float
    predicted: dict[str, float | None]
    low: float
    high: float

    @property
    def error(self) -> float:
        """Of our prediction, relative to what was measured."""
        return (self.predicted[OURS] or 0.0) / self.measured - 1


@dataclass(frozen=True)
class Compared:
    """Predictions beside what was measured.

    Attributes:
        points: all of them.
        left_out: why how many runs gave none.
        traces: of the points that are a step's time and were predicted now, by their place: what it was told from.
    """

    points: list[Point]
    left_out: Counter[str]
    traces: dict[int, tuple[Trace, Card]]


def compare(records: Sequence[Record], tracer: Tracer, longest: int = PEFT_LONGEST, again: bool = False) -> Compared:
    """All points of `records`.

    Args:
        records: finished runs.
        tracer: what traces questions.
        longest: tokens of the longest batch of imported runs, which they do not tell.
        again: predict own runs with this version, in place of what they predicted themselves.
    """
    left_out: Counter[str] = Counter()
    usable = [record for record in records if record.status is Status.OK and record.training is not None]
    failed = len(records) - len(usable) - sum(record.method == "base" for record in records)
    if failed:
        left_out["did not end well"] = failed
    asked = [question_of(record, longest) for record in usable]
    fresh = {
        place: question
        for place, (record, question) in enumerate(zip(usable, asked, strict=True))
        if question is not None and (again or record.source is not None)
    }
    answers = dict(zip(fresh, tracer(list(fresh.values())), strict=True))
    compared = Compared([], left_out, {})
    for place, record in enumerate(usable):
        card, answer, predicted = card_of(record.environment), answers.get(place), record.prediction
        if answer is not None:
            predicted = prediction(fresh[place], answer, card)
        of_record = [] if predicted is None else _points(record, predicted, asked[place])
        if isinstance(answer, Trace) and card is not None:
            steps = (len(compared.points) + i for i, point in enumerate(of_record) if point.figure == "step")
            compared.traces.update(dict.fromkeys(steps, (answer, card)))
        compared.points.extend(of_record)
        if not of_record:
            left_out[_why_not(record, predicted)] += 1
    return compared


def _why_not(record: Record, predicted: Prediction | None) -> str:
    if predicted is not None:
        return f"not predicted: {predicted.reason}" if predicted.reason else "measured nothing that was predicted"
    if record.source is not None:
        return "imported, and too little is known of their training"
    return "made without a prediction"


def _points(record: Record, predicted: Prediction, question: Question | None) -> list[Point]:
    facts = None if question is None else facts_of(record, question)
    others = {} if facts is None else {name: formula(facts) for name, formula in BASELINES.items()}
    instant = None if question is None else closed_form(question)
    if instant is not None:
        others = {CLOSED: instant.value, **others}
    card = record.environment.hardware if record.environment else ""
    found = []
    for figure, (given, measured) in _figures(record, predicted).items():
        if given is not None and measured:
            beside = {} if figure == "step" else others
            values: dict[str, float | None] = {OURS: given.value, **beside}
            labels = (record.run_id, record.method, record.model, card)
            found.append(Point(*labels, figure, measured, values, given.low, given.high))
    return found


def _figures(
    record: Record, predicted: Prediction
) -> dict[str, tuple[PredictedBytes | PredictedSeconds | None, float | None]]:
    """Of each figure what was predicted, and what was measured of the same."""
    training, phase = record.training, record.phase("train")
    if record.source is not None:  # one phase, with the maximum over all that was done
        phase = record.phases[0] if record.phases else None
    if training is None or phase is None:
        return {}
    step = training.step_s.median if training.step_s else training.seconds / training.steps
    return {
        "reserved": (predicted.reserved_bytes, phase.peak_reserved_bytes),
        "allocated": (predicted.allocated_bytes, phase.peak_allocated_bytes),
        "device": (predicted.device_bytes, phase.peak_device_bytes),
        "live": (predicted.live_bytes, phase.peak_allocated_bytes),
        "step": (predicted.step_s, step),
    }


def facts_of(record: Record, question: Question) -> Facts | None:
    """What formulas ask of a run; None where its sizes are not known."""
    model, training, counts = question.run["model"], record.training, record.parameters
    shape = sizes(model)
    if shape is None or training is None or counts is None:
        return None
    facts = Facts(
        parameters=counts.total - counts.trainable,
        trainable=counts.trainable,
        full=False,
        weight_bytes=BYTES.get(model["dtype"], 2.0 if question.device == "cuda" else 4.0),
        trainable_bytes=4 if training.trainable_dtype == "float32" else 2,
        compute_bytes=4 if training.precision == "float32" else 2,
        rows=question.workload.rows,
        tokens=question.workload.longest_tokens,
        checkpointing=bool(question.run["train"].get("gradient_checkpointing", False)),
        **shape,
    )
    if record.source is not None:
        full = record.config.get("peft_config") is None
        return replace(facts, full=full, parameters=counts.total if full else facts.parameters)
    try:
        method = from_dict({"method": record.config["method"]}).method
    except (ValueError, TypeError, KeyError):  # of a plugin that is not here
        return None
    assert method is not None
    facts = replace(facts, rows=of(method).sequences * facts.rows)
    quantization = method.quantization()
    if quantization is not None:
        facts = replace(facts, weight_bytes=BYTES[f"int{quantization.bits}"])
    return replace(facts, full=True, parameters=counts.total) if method.trains_base_weights() else facts

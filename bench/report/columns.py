"""The columns of a table: what each reads from a record, in which unit it is stored and shown, and which end is better.

A column's key is its name in CSV, JSON and `--columns`, and carries the unit in which the record holds the value;
tables for people show it in the handier unit of `unit`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.records.keys import MISSING, text, value
from bench.records.schema import Metric, Record, Scores
from bench.report.statistics.scores import pscp
from bench.report.visible import visible

MIB, GIB = 2**20, 2**30
UNREADABLE = 1e15  # with all its digits
# Headings of the metrics that the harness has, in the order of a table; those of plugins follow by name.
METRICS = {
    "gsm8k_accuracy": "GSM8K",
    "forgetting_as_reported": "forgetting as reported",
    "accuracy": "accuracy",
    "accuracy_norm": "acc. norm.",
    "macro_f1": "macro F1",
    "matthews": "Matthews",
    "math": "math",
    "exact_match": "exact match",
    "squad_exact_match": "exact match (SQuAD)",
    "token_f1": "token F1",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "bleu": "BLEU",
    "chrf": "chrF",
    "syntax": "syntax",
    "perplexity": "perplexity",
    "bits_per_byte": "bits/byte",
    "preference_accuracy": "pref. acc.",
    "preference_margin": "pref. margin",
}
MAIN_METRICS = (
    "gsm8k_accuracy",
    "accuracy",
    "exact_match",
    "math",
    "squad_exact_match",
    "rougeL",
    "chrf",
    "perplexity",
)
SIDE_METRICS = ("matthews", "preference_margin")  # first to go where the terminal is narrow
Value = Callable[[Record], float | None]


@dataclass(frozen=True)
class Column:
    """One column. `better` is +1 where more is better, -1 where less is, 0 where neither."""

    key: str
    title: str
    value: Value
    unit: str = ""  # as shown
    scale: float = 1.0  # shown = value * scale
    digits: str = ".3f"  # format specification; "significant": three significant digits
    better: int = 0
    quality: bool = False  # what a method gives, in contrast to what it costs
    exact: bool = False  # known, not measured: has no interval
    shown: bool = True  # in tables for people unless --columns says otherwise
    rank: int = 5  # in a narrow terminal the highest ranks go first
    kind: str = ""  # "memory", "throughput" or "timing": needs a footnote
    outcome: str = ""  # name in examples.jsonl of what each example gives; used where its mean is this value
    fallback: Value | None = None  # read, and marked, where `value` finds nothing
    words: Callable[[Record], str | None] | None = None  # what a column of texts holds, in place of `value`

    @property
    def header(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def number(self, value: float) -> str:
        """`value` (as in the record) in the shown unit, without its name."""
        value *= self.scale
        if not math.isfinite(value):
            return str(value)
        if abs(value) >= UNREADABLE:
            return format(value, ".3g")
        if self.digits == "significant":
            places = 2 - math.floor(math.log10(abs(value))) if value else 0
            return f"{value:,.{max(places, 0)}f}"
        return format(value, self.digits)


def _peak(phase: str) -> Value:
    def read(record: Record) -> float | None:
        found = record.phase(phase)
        return None if found is None else found.peak_allocated_bytes

    return read


def _predicted(record: Record) -> float | None:
    """Of the figure that `peak_train_bytes` measures."""
    found = record.prediction and (record.prediction.live_bytes or record.prediction.allocated_bytes)
    return found.value if found else None


def _prediction_error(record: Record) -> float | None:
    predicted, measured = _predicted(record), _peak("train")(record)
    return 100 * (predicted / measured - 1) if predicted is not None and measured else None


def _reserved(record: Record) -> float | None:
    return max((p.peak_reserved_bytes for p in record.phases if p.peak_reserved_bytes is not None), default=None)


def _training(field: str) -> Value:
    return lambda record: None if record.training is None else getattr(record.training, field)


def _step(record: Record) -> float | None:
    found = record.training and record.training.step_s
    return found.median if found else None


def _trainable(record: Record) -> float | None:
    return None if record.parameters is None else record.parameters.trainable


def _trainable_percent(record: Record) -> float | None:
    found = record.parameters
    return 100 * found.trainable / found.total if found is not None and found.total else None


def _energy(record: Record) -> float | None:
    phase = record.phase("train")
    return None if phase is None else phase.energy_j


def _forgetting(record: Record) -> float | None:
    return None if record.evaluation is None else record.evaluation.forgetting


def _scores(record: Record, split: str) -> Scores | None:
    return None if record.evaluation is None else getattr(record.evaluation, split)


def _loss(split: str) -> Value:
    def read(record: Record) -> float | None:
        scores = _scores(record, split)
        return None if scores is None else scores.loss

    return read


def _pscp(record: Record) -> float | None:
    """PSCP from the first main metric of the test split of which more is better."""
    scores, phase = _scores(record, "test"), record.phase("train")
    metrics = scores.metrics if scores else {}
    score = next((metrics[n].value for n in MAIN_METRICS if n in metrics and metrics[n].higher_is_better), None)
    if score is None or phase is None or phase.peak_allocated_bytes is None or record.parameters is None:
        return None
    return pscp(score, record.parameters.trainable, phase.peak_allocated_bytes)


def _metric(split: str, name: str, version: int) -> Value:
    def read(record: Record) -> float | None:  # once for each record and metric: no further call
        scores = None if record.evaluation is None else getattr(record.evaluation, split)
        metric = None if scores is None else scores.metrics.get(name)
        return None if metric is None or metric.version != version else metric.value

    return read


# fmt: off
QUALITY = (
    Column("validation_loss_nats", "val. loss", _loss("validation"), better=-1, quality=True, rank=0),
    Column(
        "test_loss_nats", "test loss", _loss("test"), better=-1, quality=True, shown=False, rank=9, outcome="loss",
    ),
)
COSTS = (
    Column("forgetting_nats", "forgetting", _forgetting, digits="+.3f", better=-1, quality=True, rank=4),
    Column("peak_load_bytes", "mem. load", _peak("load"), better=-1, kind="memory", rank=4),
    Column("peak_train_bytes", "mem. train", _peak("train"), better=-1, kind="memory", rank=1),
    Column("peak_evaluate_bytes", "mem. eval", _peak("evaluate"), better=-1, kind="memory", rank=4),
    Column(  # shown beside imported records, of which nothing else is known
        "peak_reserved_bytes", "mem. reserved", _reserved, better=-1, kind="memory", shown=False, rank=1,
    ),
    Column(
        "predicted_train_bytes", "mem. predicted", _predicted, better=-1, exact=True, kind="memory", shown=False,
        rank=9,
    ),
    Column(
        "prediction_error_percent", "error of it", _prediction_error, unit="%", digits="+.1f", shown=False, rank=9,
    ),
    Column(
        "tokens_per_s", "tokens/s", _training("tokens_per_s"), digits=",.0f", better=1, kind="throughput", rank=1,
    ),
    Column("step_median_s", "step", _step, unit="ms", scale=1e3, digits=",.1f", better=-1, kind="timing", rank=7),
    Column("train_s", "train", _training("seconds"), unit="s", digits=",.1f", better=-1, kind="timing", rank=3),
    Column("train_energy_j", "energy", _energy, unit="J", digits=",.0f", better=-1, rank=6),
    Column(
        "checkpoint_bytes", "file", lambda record: record.checkpoint_bytes, unit="MiB", scale=1 / MIB,
        digits="significant", better=-1, exact=True, rank=4,
    ),
    Column("pscp", "PSCP", _pscp, better=1, shown=False, rank=9),
    Column(
        "learning_rate", "learning rate", _training("learning_rate"), digits="g", exact=True, shown=False, rank=9,
    ),
)
PARAMETERS = (
    Column("trainable_parameters", "trainable", _trainable, digits=",.0f", exact=True, rank=2),
    Column("trainable_percent", "share", _trainable_percent, unit="%", digits="significant", exact=True, rank=8),
)
# What says of a row how it stands among others: `bench.report.table` fills their cells.
TRIALS = Column("trials", "trials", lambda _: None, digits=",.0f", exact=True, rank=1)
FRONT = Column("pareto_front", "front", lambda _: None, digits=",.0f", exact=True, rank=1)
# fmt: on


def columns(records: Iterable[Record], keys: Sequence[str] = ()) -> tuple[Column, ...]:
    """All columns for `records`: the fixed ones, and two (test, validation) for each metric that occurs in them.

    Those of `keys` that are no such column, but say something in a record, follow.
    """
    records = list(records)
    found = (*PARAMETERS, *QUALITY, *_metric_columns(records), *map(_memory_unit(records), COSTS))
    known = {column.key for column in found}
    extra = [_record_column(key, records) for key in dict.fromkeys(keys) if key not in known]
    return (*found, *(column for column in extra if column is not None))


def _record_column(key: str, records: Iterable[Record]) -> Column | None:
    """A column of what the records say under `key`: the mean of numbers, or the texts; None if they say nothing."""
    found = [each for each in (value(record, key) for record in records) if each is not MISSING]
    if not found:
        return None
    given = [each for each in found if each is not None]
    if all(isinstance(each, int | float) and not isinstance(each, bool) for each in given):
        digits = ",.0f" if all(isinstance(each, int) for each in given) else ".4g"
        return Column(key, visible(key), lambda record: _number(value(record, key)), digits=digits, exact=True)
    return Column(key, visible(key), lambda _: None, exact=True, words=lambda record: _words(value(record, key)))


def _number(found: Any) -> float | None:
    try:
        return None if found is MISSING or found is None else float(found)
    except OverflowError:  # an integer beyond every float, which only a setting can be
        return math.inf if found > 0 else -math.inf


def _words(found: Any) -> str | None:
    return None if found is MISSING or found is None else visible(text(found))


def _memory_unit(records: list[Record]) -> Callable[[Column], Column]:
    """One unit for all memory columns, so that they can be compared: GiB from one GiB on, else MiB."""
    imported = any(record.source for record in records)
    peaks = [phase.peak_allocated_bytes or 0 for record in records for phase in record.phases]
    largest = max([*peaks, *(_reserved(record) or 0 for record in records if imported)], default=0)
    unit, size, digits = ("GiB", GIB, ",.2f") if largest >= GIB else ("MiB", MIB, ",.1f")

    def with_unit(c: Column) -> Column:
        shown = c.shown or (imported and c.value is _reserved)
        return replace(c, unit=unit, scale=1 / size, digits=digits, shown=shown) if c.kind == "memory" else c

    return with_unit


def _metric_columns(records: list[Record]) -> list[Column]:
    found: dict[tuple[str, int], Metric] = {}
    for record in records:
        for scores in (_scores(record, "validation"), _scores(record, "test")):
            for name, metric in (scores.metrics if scores else {}).items():
                found[name, metric.version] = metric
    made = []
    for name, version in sorted(found, key=_metric_order):
        several = sum(other == name for other, _ in found) > 1  # versions are different things and never averaged
        suffix, title = (f"_v{version}", f" v{version}") if several else ("", "")
        better = 1 if found[name, version].higher_is_better else -1
        read, instead = _metric("test", name, version), _metric("validation", name, version)
        shown = visible(METRICS.get(name, name.replace("_", " "))) + title
        key = visible(name) + suffix
        test = Column(f"test_{key}", shown, read, better=better, quality=True, fallback=instead)
        rank = 1 if name in MAIN_METRICS else 8 if name in SIDE_METRICS else 4
        test = replace(test, rank=rank, outcome=name, digits=_digits(name))
        validation = Column(f"validation_{key}", f"val. {shown}", instead, better=better, quality=True)
        made += [test, replace(validation, shown=False, rank=9)]
    return made


def _metric_order(key: tuple[str, int]) -> tuple[int, str, int]:
    name, version = key
    return list(METRICS).index(name) if name in METRICS else len(METRICS), name, version


def _digits(name: str) -> str:
    return {"bleu": ".1f", "chrf": ".1f", "perplexity": ",.2f", "preference_margin": "+.2f"}.get(name, ".3f")

"""What tables say of imported records: their mark, where they come from, and what was measured how.

Others made them at many dates and with many versions of libraries, so those of one source stand in one section for
each model, task, budget and device; its caption names the ranges. They share a section with own records only where
somebody asks for that.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Any

from bench.records.schema import Record, Source
from bench.report.statistics import Interval, wilson

MARK = "[imported]"
OWN = ""  # the source of what tunebench measured itself


def facts(record: Record) -> dict[str, Any]:
    """What `sections.facts` says otherwise of this record: whose it is and, of an imported one, no versions or data."""
    if record.source is None:
        return {"source": OWN}
    return {"source": record.source.name, "libraries": {}, "data": "", "tunebench_version": "", "schema_version": None}


def label(record: Record) -> str:
    """Name of an imported record's row."""
    settings = record.config.get("method")
    experiment = settings.get("experiment") if isinstance(settings, dict) else None
    return f"{record.method} ({experiment}) {MARK}" if experiment else f"{record.method} {MARK}"


def sources(records: Iterable[Record]) -> list[tuple[Source, list[Record]]]:
    """The records of each source and commit, own ones left out."""
    found: dict[tuple[str, str | None], tuple[Source, list[Record]]] = {}
    for record in records:
        if record.source is not None:
            key = record.source.name, record.source.commit
            found.setdefault(key, (record.source, []))[1].append(record)
    return list(found.values())


def origin(records: Iterable[Record]) -> str:
    """Where imported records come from, for the caption; empty if there are none."""
    return "; ".join(_origin(source, members) for source, members in sources(records))


def _origin(source: Source, records: Sequence[Record]) -> str:
    days = sorted(record.started_at[:10] for record in records)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    commit = f"commit {source.commit[:10]}" if source.commit else "commit unknown"
    terms = f", {source.license}" if source.license else ""
    return f"from {source.name}, {commit} ({source.url}{terms}); measured by others, {when}; see the notes"


def versions(records: Sequence[Record], names: Iterable[str]) -> str:
    """Libraries of records of several dates: each with its version, or with the range of those that occur."""
    parts = []
    for name in names:
        found = {r.environment.libraries[name] for r in records if r.environment and name in r.environment.libraries}
        if found:
            ordered = sorted(found, key=_numbers)
            parts.append(f"{name} {ordered[0]}" + (f" to {ordered[-1]}" if len(ordered) > 1 else ""))
    return ", ".join(parts)


def _numbers(version: str) -> tuple[list[int], str]:
    """So that 0.9 comes before 0.10."""
    release = version.partition("+")[0].split(".")
    return [int(part) for part in release if part.isdigit()], version


def notes(records: Iterable[Record], keys: Iterable[str]) -> list[str]:
    """What the sources say of the columns `keys`, and of what belongs to no column."""
    shown = {"seed", *(NOTED.get(key, key) for key in keys)}
    found: dict[str, None] = {}
    for source, members in sources(records):
        if any(_counts(record, key) for record in members for key in shown):
            found[f"{MARK}: shares are compared as of independent samples; the single answers are unknown."] = None
        for key, text in source.notes.items():
            if key in shown or _metric(key) in shown:
                found[f"{MARK} {key}: {text}."] = None
    return list(found)


# The field of the record that a column shows, as the notes of a source name it.
NOTED = {
    "tokens_per_s": "training.tokens_per_s",
    "train_s": "training.seconds",
    "peak_reserved_bytes": "phases.peak_reserved_bytes",
}


def interval(record: Record, key: str) -> Interval | None:
    """Wilson's interval over the examples of the test metric in column `key`, if it is a share of them."""
    counts = _counts(record, key)
    return counts and wilson(*counts)


def p_value(one: Record, other: Record, key: str) -> float | None:
    """The p-value of two shares being equal, their examples taken for independent samples.

    Nobody knows the examples' outcomes, so the two cannot be paired; the pooled z-test of two proportions is on the
    safe side for examples that are the same. None if one is no share.
    """
    first, second = _counts(one, key), _counts(other, key)
    if first is None or second is None:
        return None
    (a, n), (b, m) = first, second
    pooled = (a + b) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return 1.0 if error == 0 else 2 * NormalDist().cdf(-abs(a / n - b / m) / error)


def difference(one: Record, other: Record, key: str) -> Interval | None:
    """Newcombe's interval (1998, method 10) of the second share minus the first, taken for independent samples."""
    first, second = _counts(one, key), _counts(other, key)
    if first is None or second is None:
        return None
    (p, low, high), (q, low_q, high_q) = ((right / n, *wilson(right, n)) for right, n in (first, second))
    return Interval(q - p - math.hypot(q - low_q, high - p), q - p + math.hypot(high_q - q, p - low))


def _counts(record: Record, key: str) -> tuple[int, int] | None:
    """How many examples of how many were right."""
    test = record.evaluation.test if record.source and record.evaluation else None
    metric = test.metrics.get(key.removeprefix("test_")) if test else None
    if test is None or metric is None or not 0 <= metric.value <= 1:
        return None
    right = round(metric.value * test.examples)
    return (right, test.examples) if math.isclose(right, metric.value * test.examples, abs_tol=1e-6) else None


def _metric(key: str) -> str:
    """`evaluation.test.metrics.accuracy` is noted of the column `test_accuracy`."""
    parts = key.split(".")
    return f"{parts[1]}_{parts[3]}" if parts[0] == "evaluation" and len(parts) == 4 else ""

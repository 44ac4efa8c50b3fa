"""What must be equal for two runs to be compared, and what of it may differ on request."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.records.keys import MISSING, text, value
from bench.records.schema import Record, Status
from bench.report import imported

BASE = "base"
LIBRARIES = ("torch", "transformers", "peft", "trl")
HEADINGS = ("model", "task", "hardware", "budget")
SAME_BASE = ("model", "task", "hardware", "data")  # what a base must share with runs to be theirs
MIXABLE = {  # what --mix puts together, with the facts that may then differ
    "model": ("model",),
    "task": ("task", "data"),
    "hardware": ("hardware", "device", "device_name", "threads"),
    "budget": ("budget",),
    "measure": ("measure",),
    "data": ("data",),
    "versions": ("libraries", "tunebench_version", "schema_version"),
    "source": ("source", "libraries", "tunebench_version", "schema_version", "data", "measure"),
}


class Stored(NamedTuple):
    """A record and, where known, the folder it lies in, which holds the per-example outcomes."""

    record: Record
    folder: Path | None = None


def standing(run: Stored) -> tuple[bool, str]:
    """Of several runs of one configuration and seed the greatest counts: one that came to an end, then the newest."""
    return run.record.status is not Status.INTERRUPTED, run.record.started_at


@dataclass
class Known:
    """The facts of a run, and which of them decide where it belongs."""

    facts: dict[str, Any]
    alike: dict[str, Any]  # must be equal in a section
    key: str  # `alike` as text
    place: str  # model and task, as far as they must be equal
    variant: str  # the facts that may differ, as text
    whole: bool  # nothing is missing; a run that failed early lacks some facts


class Facts:
    """The facts of runs, worked out once for all that have equal ones.

    Args:
        by: keys of the record that must be equal too.
        mix: names in `MIXABLE` of what may differ.
    """

    def __init__(self, by: Sequence[str] = (), mix: Sequence[str] = ()) -> None:
        self.by = [key for key in by if key not in HEADINGS]
        self._free = {fact for name in mix for fact in MIXABLE[name]}
        self._by_name = "source" in mix  # others describe a model and a task in other words
        self._known: dict[tuple[Any, ...], Known] = {}

    def of(self, run: Stored) -> Known:
        """What is known of `run`; runs that share the parts of their records share it."""
        record, folder = run
        config, environment, data, source = record.config, record.environment, record.data, record.source
        extra = tuple([titled(key, value(record, key, folder)) for key in self.by]) if self.by else ()
        identity = (
            id(config.get("model")), id(config.get("task")), id(config.get("budget")), id(config.get("measure")),
            id(environment), data and data.fingerprint, record.tunebench_version, record.schema_version,
            source and source.name, record.model, record.task, record.method == BASE,
            folder.parent.name if environment is None and folder is not None else "", extra,
        )  # fmt: skip
        found = self._known.get(identity)
        if found is None:
            found = self._known[identity] = self._make(run, extra)
        return found

    def _make(self, run: Stored, extra: tuple[str, ...]) -> Known:
        found = facts(run)
        alike = {key: part for key, part in found.items() if key not in self._free}
        if self._by_name:
            alike |= {key: getattr(run.record, key) for key in ("model", "task") if key in alike}
        # the base has none of the settings that sections may be split by, and serves all of them
        by = {} if run.record.method == BASE else dict(zip(self.by, extra, strict=True))
        found["by"] = alike["by"] = by
        place: dict[str, Any] = {key: alike[key] for key in ("model", "task") if key in alike}
        variant = {key: found[key] for key in sorted(self._free)}
        whole = None not in (found["libraries"], found["data"], found["tunebench_version"])
        return Known(found, alike, _text(alike), _text(place), _text(variant), whole)


def facts(run: Stored) -> dict[str, Any]:
    """What must be equal for two runs to be compared; None where the record does not say."""
    record, environment = run.record, run.record.environment
    known = {key: record.config.get(key) for key in ("model", "task", "budget", "measure")}
    if record.method == BASE:
        known["budget"] = None  # it is not trained
    known |= {key: known[key] or {"name": getattr(record, key)} for key in ("model", "task")}
    known |= dict.fromkeys(("hardware", "device", "device_name", "threads", "libraries"))
    if environment is not None:
        known |= {key: getattr(environment, key) for key in ("hardware", "device", "device_name", "threads")}
        known["libraries"] = {name: environment.libraries.get(name) for name in LIBRARIES}
    elif run.folder is not None:
        known["hardware"] = run.folder.parent.name
    known["data"] = record.data.fingerprint if record.data else None
    known["tunebench_version"] = record.tunebench_version or None
    known["schema_version"] = record.schema_version
    return known | imported.facts(record)


def compatible(one: dict[str, Any], other: dict[str, Any], keys: Iterable[str]) -> bool:
    """Whether nothing that both know differs."""
    return all(one[key] == other[key] or one[key] is None or other[key] is None for key in keys)


def budget(settings: dict[str, Any] | None) -> str:
    """A budget in words, such as `short (300 steps)`; a limit may be "Infinity", as records write it."""
    if not settings:
        return "no budget"
    found = [(float(settings.get(key) or 0), key) for key in ("steps", "tokens", "epochs", "seconds")]
    limits = [f"{limit:g} {key}" for limit, key in found if limit]
    name = settings.get("name") or ""
    return f"{name} ({', '.join(limits)})" if name and limits else name or ", ".join(limits)


def titled(key: str, found: Any) -> str:
    """A key and its value, as a title names it."""
    return f"no {key}" if found is MISSING or found is None else f"{key}={text(found)}"


def _text(known: dict[str, Any]) -> str:
    return json.dumps(known, sort_keys=True, default=str)

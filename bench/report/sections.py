"""Sort records into sections of like things, and within a section into groups that differ in the seed alone.

Records are alike if model, task, budget, way of measuring, hardware, versions and data are equal. A run that
failed early lacks some of these facts; it joins the newest section that none of those it has contradicts.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench.records.schema import Record, Status
from bench.report import imported

BASE = "base"
LIBRARIES = ("torch", "transformers", "peft", "trl")
HEADINGS = ("model", "task", "hardware", "budget")
SAME_BASE = ("model", "task", "hardware", "data")  # what a base must share with a section to be its first row


class Stored(NamedTuple):
    """A record and, where known, the folder it lies in, which holds the per-example outcomes."""

    record: Record
    folder: Path | None = None


@dataclass
class Group:
    """Runs of one configuration; they differ in their seed alone."""

    runs: list[Stored]
    label: str = ""

    @property
    def records(self) -> list[Record]:
        """The records in order of seed."""
        return [run.record for run in self.runs]

    @property
    def ok(self) -> list[Stored]:
        """The runs that succeeded."""
        return [run for run in self.runs if run.record.status is Status.OK]

    @property
    def measured(self) -> list[Stored]:
        """The runs to average: those that succeeded, or, if none did, all, for what they reached."""
        return self.ok or self.runs

    @property
    def base(self) -> bool:
        """Whether this is the untouched model."""
        return self.runs[0].record.method == BASE

    @property
    def imported(self) -> bool:
        """Whether others measured it."""
        return self.runs[0].record.source is not None

    @property
    def status(self) -> str:
        """`ok`, `oom`, or counts where the runs ended differently."""
        counts = Counter(run.record.status for run in self.runs)
        if len(counts) == 1:
            return str(next(iter(counts)))
        return ", ".join(f"{counts[status]} {status}" for status in Status if status in counts)

    @property
    def reason(self) -> str:
        """Where and why the first failed run stopped, shortened; empty if none failed."""
        failed = next((r for r in self.records if r.status is not Status.OK), None)
        if failed is None:
            return ""
        text = " ".join((failed.reason or "").split())
        text = text if len(text) <= 100 else text[:99].rstrip() + "…"
        return ": ".join(part for part in (failed.failed_phase or "", text) if part)


@dataclass
class Section:
    """Like things: all that a table may compare."""

    facts: dict[str, Any]
    groups: list[Group] = field(default_factory=list)
    duplicates: int = 0  # older records of a configuration and seed that is here already

    @property
    def records(self) -> list[Record]:
        """All records of all groups."""
        return [record for group in self.groups for record in group.records]

    def heading(self, key: str) -> str:
        """The section's model, task, hardware or budget in a few words."""
        if key == "hardware":
            return self.facts["hardware"] or "unknown hardware"
        if key == "budget":
            return budget(self.facts["budget"])
        return str(getattr(self.records[0], key))


def split(runs: Iterable[Stored], by: Sequence[str] = ()) -> list[Section]:
    """All sections, ordered by the headings named in `by`, then by the others, then by age."""
    runs = sorted(runs, key=lambda run: run.record.started_at)
    methods = [run for run in runs if run.record.method != BASE]
    bases = [run for run in runs if run.record.method == BASE]
    members = _gather(methods)
    lonely = [run for run in bases if not any(_shares(facts(run), known) for known, _ in members)]
    made = [_section(known, _with_base(known, found, bases)) for known, found in members]
    made += [_section(known, found) for known, found in _gather(lonely)]
    order = (*by, *(key for key in HEADINGS if key not in by))
    return sorted(made, key=lambda section: [section.heading(key) for key in order])


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


def budget(settings: dict[str, Any] | None) -> str:
    """A budget in words, such as `short (300 steps)`."""
    if not settings:
        return "no budget"
    limits = [f"{settings[key]:g} {key}" for key in ("steps", "tokens", "epochs", "seconds") if settings.get(key)]
    name = settings.get("name", "")
    return f"{name} ({', '.join(limits)})" if name and limits else name or ", ".join(limits)


def _gather(runs: list[Stored]) -> list[tuple[dict[str, Any], list[Stored]]]:
    """Runs with equal facts together; those that lack some go to the newest section that fits."""
    whole: dict[str, tuple[dict[str, Any], list[Stored]]] = {}
    partial = []
    for run in runs:
        known = facts(run)
        if None in (known["libraries"], known["data"], known["tunebench_version"]):
            partial.append((known, run))
        else:
            whole.setdefault(json.dumps(known, sort_keys=True), (known, []))[1].append(run)
    sections = list(whole.values())
    for known, run in partial:
        fitting = next((s for s in reversed(sections) if _compatible(known, s[0], known)), None)
        if fitting is None:
            sections.append((known, [run]))
        else:
            fitting[1].append(run)
            fitting[0].update({key: value for key, value in known.items() if fitting[0][key] is None})
    return sections


def _compatible(one: dict[str, Any], other: dict[str, Any], keys: Iterable[str]) -> bool:
    return all(one[key] == other[key] or one[key] is None or other[key] is None for key in keys)


def _shares(base: dict[str, Any], section: dict[str, Any]) -> bool:
    return _compatible(base, section, SAME_BASE)


def _with_base(known: dict[str, Any], found: list[Stored], bases: list[Stored]) -> list[Stored]:
    """The section's runs with its base: of several, the one with most facts in common, then the newest."""
    fitting = [run for run in bases if _shares(facts(run), known)]
    if not fitting:
        return found
    return [max(fitting, key=lambda run: _closeness(facts(run), known)), *found]


def _closeness(base: dict[str, Any], section: dict[str, Any]) -> int:
    return sum(base[key] == section[key] for key in section if key != "budget")


def _section(known: dict[str, Any], found: list[Stored]) -> Section:
    groups: dict[tuple[str, str], dict[int, Stored]] = {}
    for run in found:  # the oldest first, so that the newest of equals stays
        groups.setdefault((run.record.method, run.record.group), {})[run.record.seed] = run
    section = Section(known, [Group([runs[seed] for seed in sorted(runs)]) for runs in groups.values()])
    section.duplicates = len(found) - len(section.records)
    _label(section.groups)
    return section


def _label(groups: list[Group]) -> None:
    """Name each group by its method, and by the settings that tell it from others.

    Settings of the method are named among groups of one title, those of the training loop wherever they differ.
    """
    for group in groups:
        group.label = imported.label(group.records[0]) if group.imported else ""
    groups = [group for group in groups if not group.imported]
    settings = {id(group): _flat(group.records[0].config) for group in groups}
    others = [group for group in groups if not group.base]
    for group in groups:
        twins = [g for g in groups if g.records[0].method == group.records[0].method]
        names = [] if group.base else _differing([settings[id(g)] for g in others], "train.")
        names += _differing([settings[id(g)] for g in twins], "method.")
        shown = [f"{name}={_shown(settings[id(group)].get(name))}" for name in names]
        if len(twins) > 1 and not names:
            shown = [group.records[0].group]
        group.label = group.records[0].method + (f" ({', '.join(shown)})" if shown else "")


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def _differing(settings: list[dict[str, Any]], prefix: str) -> list[str]:
    keys = sorted({key for each in settings for key in each if key.startswith(prefix)})
    return [key for key in keys if any(each.get(key) != settings[0].get(key) for each in settings)]


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

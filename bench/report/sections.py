"""Sort records into sections of like things, and within a section into groups that differ in the seed alone.

Records are alike if model, task, budget, way of measuring, hardware, versions, data and origin are equal. A run that
failed early lacks some of these facts; it joins the newest section that none of those it has contradicts. On request
some facts may differ within a section, whose rows are then named by what differs.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.records.keys import natural
from bench.records.schema import Record, Status
from bench.report.facts import (
    BASE,
    HEADINGS,
    LIBRARIES,
    MIXABLE,
    SAME_BASE,
    Facts,
    Known,
    Stored,
    budget,
    compatible,
    standing,
)
from bench.report.labels import label
from bench.report.visible import visible

__all__ = ["BASE", "HEADINGS", "LIBRARIES", "MIXABLE", "Group", "Section", "Stored", "split"]


@dataclass
class Group:
    """Runs of one configuration; they differ in their seed alone."""

    runs: list[Stored]
    label: str = ""
    facts: dict[str, Any] = field(default_factory=dict)  # of its first run

    @cached_property
    def records(self) -> list[Record]:
        """The records in order of seed."""
        return [run.record for run in self.runs]

    @cached_property
    def ok(self) -> list[Stored]:
        """The runs that succeeded."""
        return [run for run in self.runs if run.record.status is Status.OK]

    @cached_property
    def measured(self) -> list[Stored]:
        """The runs to average: those that succeeded, or, if none did, all, for what they reached."""
        return self.ok or self.runs

    @cached_property
    def base(self) -> bool:
        """Whether this is the untouched model."""
        return self.runs[0].record.method == BASE

    @cached_property
    def imported(self) -> bool:
        """Whether others measured it."""
        return self.runs[0].record.source is not None

    @cached_property
    def status(self) -> str:
        """`ok`, `oom`, or counts where the runs ended differently."""
        counts = Counter(run.record.status for run in self.runs)
        if len(counts) == 1:
            return str(next(iter(counts)))
        return ", ".join(f"{counts[status]} {status}" for status in Status if status in counts)

    @cached_property
    def reason(self) -> str:
        """Where and why the first failed run stopped, shortened; empty if none failed."""
        failed = next((r for r in self.records if r.status is not Status.OK), None)
        if failed is None:
            return ""
        text = " ".join((failed.reason or "").split())
        text = text if len(text) <= 100 else text[:99].rstrip() + "…"
        return visible(": ".join(part for part in (failed.failed_phase or "", text) if part))


@dataclass
class Section:
    """Like things: all that a table may compare."""

    facts: dict[str, Any]
    groups: list[Group] = field(default_factory=list)
    duplicates: int = 0  # older records of a configuration and seed that is here already
    mixed: dict[str, list[str]] = field(default_factory=dict)  # what differs on request: name in --mix, its values

    @property
    def records(self) -> list[Record]:
        """All records of all groups."""
        return [record for group in self.groups for record in group.records]

    def heading(self, key: str, group: Group | None = None) -> str:
        """The model, task, hardware, budget, or other key that sections are split by, of the section in a few words.

        With a `group`, of that, which may differ from others in what is mixed.
        """
        return visible(self._heading(key, group))

    def _heading(self, key: str, group: Group | None) -> str:
        if key not in HEADINGS:
            return str(self.facts["by"].get(key, ""))  # a base alone has none
        if group is None and key in self.mixed:
            return f"mixed {key}"
        known = self.facts if group is None or key not in self.mixed else group.facts
        if key == "hardware":
            return known["hardware"] or "unknown hardware"
        if key == "budget":
            return budget(known["budget"])
        return str(getattr((group or self.groups[0]).runs[0].record, key))


Placed = tuple[Stored, Known]  # a run, and what is known of it


@dataclass
class _Draft:
    """A section in the making."""

    known: Known
    runs: list[Placed]


def split(runs: Iterable[Stored], by: Sequence[str] = (), mix: Sequence[str] = ()) -> list[Section]:
    """All sections, ordered by the keys in `by`, then by the other headings, then by age.

    Args:
        runs: in any order.
        by: headings, or other keys of records, whose values then have sections of their own.
        mix: names in `MIXABLE` of what may differ within a section.
    """
    facts = Facts(by, mix)
    placed = [(run, facts.of(run)) for run in sorted(runs, key=lambda run: run.record.started_at)]
    drafts = _gather([each for each in placed if each[0].record.method != BASE])
    bases: dict[str, list[Placed]] = {}
    for each in placed:
        if each[0].record.method == BASE:
            bases.setdefault(each[1].place, []).append(each)
    lonely = {id(run.record): (run, known) for found in bases.values() for run, known in found}
    for draft in drafts:
        fitting = [each for each in bases.get(draft.known.place, ()) if _shares(each[1], draft.known)]
        for run, _ in fitting:
            lonely.pop(id(run.record), None)
        draft.runs = _chosen_bases(draft, fitting) + draft.runs
    drafts += _gather(list(lonely.values()))
    order = (*by, *(key for key in HEADINGS if key not in by))
    made = [_section(draft, mix) for draft in drafts]
    return sorted(made, key=lambda section: [natural(section.heading(key)) for key in order])


def _gather(runs: list[Placed]) -> list[_Draft]:
    """Runs with equal facts together; those that lack some go to the newest section that fits."""
    whole: dict[str, _Draft] = {}
    partial = []
    for each in runs:
        known = each[1]
        if not known.whole:
            partial.append(each)
        elif known.key in whole:
            whole[known.key].runs.append(each)
        else:
            whole[known.key] = _Draft(_own_copy(known), [each])
    drafts = list(whole.values())
    places: dict[str, list[_Draft]] = {}
    for draft in drafts:
        places.setdefault(draft.known.place, []).append(draft)
    for each in partial:
        known = each[1]
        here = places.setdefault(known.place, [])
        fitting = next((d for d in reversed(here) if compatible(known.alike, d.known.alike, known.alike)), None)
        if fitting is None:
            here.append(_Draft(_own_copy(known), [each]))
            drafts.append(here[-1])
        else:
            fitting.runs.append(each)
            for mine, its in ((fitting.known.facts, known.facts), (fitting.known.alike, known.alike)):
                mine |= {key: value for key, value in its.items() if mine[key] is None}
    return drafts


def _own_copy(known: Known) -> Known:
    """Facts that a section may add to, for `known` belongs to all runs that share it."""
    return Known(dict(known.facts), dict(known.alike), known.key, known.place, known.variant, known.whole)


def _shares(base: Known, section: Known) -> bool:
    return compatible(base.alike, section.alike, [key for key in SAME_BASE if key in section.alike])


def _chosen_bases(draft: _Draft, fitting: list[Placed]) -> list[Placed]:
    """The base of a section: of several, the one with most facts in common, then the newest.

    Where a model, task or hardware is mixed, there is one for each that the section's runs have.
    """
    occurring = {_base_facts(known) for known in {id(known): known for _, known in draft.runs}.values()}
    chosen: dict[str, list[Placed]] = {}
    for each in reversed(fitting):
        chosen.setdefault(_base_facts(each[1]), []).append(each)
    several = len(occurring) > 1

    def closeness(base: Placed) -> int:
        facts = base[1].facts
        return sum(facts[key] == draft.known.facts[key] for key in facts if key != "budget")

    return [max(runs, key=closeness) for variant, runs in chosen.items() if not several or variant in occurring]


def _base_facts(known: Known) -> str:
    """The facts that a base would share with a run, as far as they may differ within the section."""
    return repr([(key, known.facts[key]) for key in SAME_BASE if key not in known.alike])


def _section(draft: _Draft, mix: Sequence[str]) -> Section:
    groups: dict[tuple[str, str, str], dict[int, Placed]] = {}
    for run, known in draft.runs:
        record = run.record
        seeds = groups.setdefault((record.method, record.group, known.variant), {})
        if record.seed not in seeds or standing(run) >= standing(seeds[record.seed][0]):
            seeds[record.seed] = run, known
    section = Section(draft.known.facts)
    for runs in groups.values():
        members = [runs[seed] for seed in sorted(runs)]
        section.groups.append(Group([run for run, _ in members], facts=members[0][1].facts))
    section.duplicates = len(draft.runs) - sum(len(group.runs) for group in section.groups)
    section.mixed = label(section.groups, mix)
    return section

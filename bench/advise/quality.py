"""What is known of how well each method learns: measured in a setting like the one in question, published, or nothing.

Figures are never made up and never mixed: those that are compared are of one section of a table, where everything but
the method is alike. Where there is no such section near enough, the published order stands in, which has no figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.advise.candidates import Candidate
from bench.advise.request import Request
from bench.objective import OBJECTIVES
from bench.paths import conf_dir
from bench.records.schema import Record
from bench.report.cells import Cell
from bench.report.columns import MAIN_METRICS
from bench.report.rows import Row
from bench.report.table import SectionTable, build

NEAR = 10  # a model that is larger or smaller by more says nothing of the one in question
PREFERENCE = "test_preference_accuracy"
KEYS = (*(f"test_{name}" for name in MAIN_METRICS), PREFERENCE, "validation_loss_nats")


@dataclass(frozen=True)
class Quality:
    """How well a method learns; `score`, `low` and `high` have more as better, and compare within one `scale` alone."""

    text: str
    evidence: str  # "measured here", "measured elsewhere", "prior" or "unknown"
    where: str = ""
    scale: str = ""
    score: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @property
    def known(self) -> bool:
        """Whether anything is."""
        return bool(self.scale)

    def better(self, other: "Quality") -> bool | None:
        """Whether this is clearly better than the other; None where they cannot be compared."""
        return self.low > other.high if self.known and self.scale == other.scale else None


UNKNOWN = Quality("unknown", "unknown")


def qualities(
    candidates: Sequence[Candidate], request: Request, parameters: int, found: dict[Path, Record]
) -> dict[str, Quality]:
    """The quality of each candidate's method by its title.

    Args:
        candidates: the ways to train.
        request: what is asked.
        parameters: of the base model; 0: not known.
        found: records by their folders.
    """
    methods = {each.title: each for each in candidates}
    measured = _measured(list(methods), request, parameters, found)
    # beside figures a published order could not be compared with them
    return {title: measured.get(title, UNKNOWN) if measured else _prior(each) for title, each in methods.items()}


def _prior(candidate: Candidate) -> Quality:
    """The published rank of a method; of an objective on an adapter, that of the adapter."""
    published = _published()
    name = getattr(candidate.method, "adapter", candidate.method).name
    for place, names in enumerate(published["ranks"], start=1):
        if name in names:
            of = f"rank {place} of {len(published['ranks'])}"
            where = f"{'; '.join(published['because'])} ({published['source']})"
            if name != candidate.method.name:
                where = f"of its adapter in supervised training: {where}"
            return Quality(of, "prior", where, "prior", -place, -place, -place)
    return UNKNOWN


def _measured(
    titles: Sequence[str], request: Request, parameters: int, found: dict[Path, Record]
) -> dict[str, Quality]:
    """Of the nearest setting that has figures of two of the methods or more, those; else none."""
    if not found:
        return {}
    table = build(list(found.values()), list(found), tuned="")
    ranked = []
    keys = (PREFERENCE, *KEYS) if OBJECTIVES[request.objective].preferences else KEYS
    for number, section in enumerate(table.sections):
        distance = _distance(section, request, parameters)
        rows = _by_method(section, titles)
        column = next((key for key in keys if sum(_value(row, key) is not None for row in rows.values()) > 1), None)
        if distance is not None and column is not None:
            rows = {title: row for title, row in rows.items() if _value(row, column) is not None}
            imported = any(row.group.imported for row in rows.values())
            seeds = min(row.seeds for row in rows.values())
            ranked.append((distance, imported, -len(rows), -seeds, number, section, rows, column))
    if not ranked:
        return {}
    *_, section, rows, column = min(ranked, key=lambda each: each[:5])
    return {title: _quality(section, row, row.cells[column]) for title, row in rows.items()}


def _value(row: Row, key: str) -> float | None:
    cell = row.cells.get(key)
    return None if cell is None else cell.value


def _by_method(section: SectionTable, titles: Sequence[str]) -> dict[str, Row]:
    """The best row on validation of each method, as `tuned` left it; of imported ones the first that ended well."""
    called = _published()["called"]
    found: dict[str, Row] = {}
    for row in section.rows:
        name = row.group.records[0].method
        name = called.get(name, name) if row.group.imported else name
        if name in titles and row.group.ok and name not in found:
            found[name] = row
    return found


def _distance(section: SectionTable, request: Request, parameters: int) -> int | None:
    """How unlike the setting is: 0 is the same model and task, 2 or more another model; None is too far."""
    record = section.rows[0].group.records[0]
    task = request.task.part
    if record.task == task.name and task.source != "file":
        apart = 0
    elif _kind(record) == task.kind:
        apart = 1
    else:
        return None
    if record.model == request.model.part.name:
        return apart
    sizes = [each.parameters.total for row in section.rows for each in row.group.records if each.parameters]
    near = bool(parameters and sizes) and parameters / NEAR <= min(sizes) <= parameters * NEAR
    return apart + 2 if near else None


def _kind(record: Record) -> str:
    """The kind of a record's task; an imported one is called after a task of ours, as `metamathqa-gsm8k`."""
    settings = record.config.get("task") or {}
    kind = (record.data.kind if record.data else "") or settings.get("kind") or ""
    file = conf_dir() / "task" / f"{record.task.partition('-')[0]}.yaml"
    return kind or (_yaml(file).get("kind", "classification") if file.is_file() else "")


def _quality(section: SectionTable, row: Row, cell: Cell) -> Quality:
    assert cell.value is not None
    sign = cell.column.better or 1
    ends = sorted(sign * end for end in cell.interval or (cell.value, cell.value))
    imported = row.group.imported
    seeds = f"{row.seeds} seed{'s' if row.seeds != 1 else ''}"
    over = f"interval over {'test examples' if cell.over_examples else 'seeds'}" if cell.interval else "no interval"
    where = f"{cell.column.title}, {section.title}, {seeds}, {over}"
    evidence = "measured elsewhere" if imported else "measured here"
    return Quality(cell.text(), evidence, where, f"{section.title} {cell.column.key}", sign * cell.value, *ends)


def _published() -> dict[str, Any]:
    return _yaml(conf_dir() / "prior.yaml")


def _yaml(file: Path) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found

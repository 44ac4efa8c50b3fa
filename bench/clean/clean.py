"""A new file without what does harm, and a report that names everything that went and why."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.clean import personal
from bench.clean.duplicates import Exact, Near
from bench.clean.repetition import repeats
from bench.clean.rows import Read, Rows
from bench.clean.write import writer
from bench.config import Data
from bench.data.leakage import Overlap
from bench.data.rows import DataError


@dataclass(frozen=True)
class Rules:
    """What goes."""

    near: float = 0.8  # Jaccard similarity of near duplicates; 0: exact ones alone
    min_characters: int = 1
    max_characters: int = 0  # 0: any
    repetition: bool = True  # drop texts that mostly repeat themselves
    personal: str = "mask"  # mask | drop | keep
    against: tuple[str, ...] = ()  # locations of held-out data that no row may overlap

    def errors(self) -> list[str]:
        """Invalid rules in words."""
        found = []
        if not 0 <= self.near < 1:
            found.append(f"--near must be >= 0 and < 1, got {self.near:g}")
        if self.min_characters < 0 or self.max_characters < 0:
            found.append("--min-characters and --max-characters must be >= 0")
        return found


@dataclass
class Report:
    """What a cleaning did."""

    location: str
    out: str
    rules: dict[str, Any]
    rows: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # by reason
    masked: dict[str, int] = field(default_factory=dict)  # finds by kind
    rows_dropped: list[dict[str, str]] = field(default_factory=list)  # where, why, and of which row or what error

    def drop(self, where: str, why: str, of: str = "", error: str = "") -> None:
        """Note a row that goes."""
        self.dropped[why] = self.dropped.get(why, 0) + 1
        more = {"of": of, "error": error}
        self.rows_dropped.append({"row": where, "reason": why} | {key: value for key, value in more.items() if value})

    def summary(self) -> str:
        """For the terminal."""
        lines = [f"{self.kept:,} of {self.rows:,} rows kept in {self.out}"]
        lines += [f"  dropped {count:>9,}  {why}" for why, count in sorted(self.dropped.items(), key=lambda d: -d[1])]
        lines += [f"  masked  {count:>9,}  {kind}" for kind, count in sorted(self.masked.items())]
        return "\n".join([*lines, f"Every dropped row: {self.out}.report.json"])


def clean(settings: Data, rules: Rules, out: Path) -> Report:
    """Write the rows that stay, as they are but for what is masked, and `OUT.report.json` beside them.

    Of duplicates the first stays. The order is that of the file.

    Args:
        settings: `train` is the location.
        rules: what goes.
        out: the new file.

    Raises:
        ValueError: the location cannot be read, a rule is invalid, or a row is wrong and `on_error` is `stop`.
    """
    if rules.errors():
        raise ValueError("\n".join(rules.errors()))
    report = Report(settings.train, str(out), asdict(rules))
    leaking = _leaking(settings, rules)
    exact, nearly = Exact(), Near(rules.near) if rules.near else None
    masked: Counter[str] = Counter()
    with writer(out) as file:
        for item in Rows(settings):
            report.rows += 1
            if isinstance(item, DataError):
                report.drop(item.place, "cannot be used", error=str(item))
                continue
            reason = _reason(item, rules, leaking)
            first = None
            if reason is None:
                first = exact.add(item.name, item.pair)
                reason = None if first is None else "duplicate"
            if reason is None and nearly is not None:
                first = nearly.add(item.name, item.pair)
                reason = None if first is None else "near duplicate"
            if reason is not None:
                report.drop(item.name, reason, first or "")
                continue
            fields = item.row.fields
            if rules.personal == "mask":
                fields, found = personal.mask_fields(fields)
                masked += found
            file.row(fields)
            report.kept += 1
    report.masked = dict(masked)
    Path(f"{out}.report.json").write_text(json.dumps(asdict(report), ensure_ascii=False, indent=1) + "\n")
    return report


def _leaking(settings: Data, rules: Rules) -> frozenset[str]:
    """Names of the rows that overlap held-out data, known once all rows were seen: common wording does not count.

    Ids will not do, as they name a file without its folder.
    """
    if not rules.against:
        return frozenset()
    held_out = [
        item.examples[-1] for location in rules.against for item in Rows(settings, location) if isinstance(item, Read)
    ]
    overlap = Overlap(held_out)
    for item in Rows(settings):
        if isinstance(item, Read):
            overlap.add(replace(item.examples[-1], id=item.name))
    return frozenset(overlap.names())


def _reason(item: Read, rules: Rules, leaking: frozenset[str]) -> str | None:
    """Why a row goes by itself, or None."""
    text = item.text
    if len(text) < rules.min_characters:
        return "too short"
    if rules.max_characters and len(text) > rules.max_characters:
        return "too long"
    if item.name in leaking:
        return "overlaps held-out data"
    if rules.repetition and (what := repeats(text)) is not None:
        return f"repeats {what}"
    if rules.personal == "drop" and (kinds := personal.find(item.row.fields)):
        return f"personal data: {', '.join(sorted(kinds))}"
    return None

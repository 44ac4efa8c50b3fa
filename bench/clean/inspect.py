"""What is in a data set: counts, lengths, and what to look at before training on it."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.clean import personal
from bench.clean.duplicates import Exact, Near
from bench.clean.repetition import repeats
from bench.clean.rows import Read, Rows
from bench.clean.tokens import TokenCounter
from bench.config import Data
from bench.data.example import Example
from bench.data.leakage import Overlap, runs_of
from bench.data.rows import DataError

BATCH = 1000  # rows that are tokenised at once
LISTED = 5  # errors that are shown


@dataclass
class Inspection:
    """What was found. Lengths are tokens of an example; `None` where there is no example."""

    location: str
    format: str = ""
    rows: int = 0
    examples: int = 0
    unusable: int = 0
    errors: list[str] = field(default_factory=list)
    tokenizer: str = ""
    max_length: int = 0
    tokens: dict[str, int] = field(default_factory=dict)  # p10, p50, p90, p99, max and total
    histogram: list[tuple[int, int, int]] = field(default_factory=list)  # from, to, examples
    longer: int = 0  # examples of more than max_length tokens
    duplicates: int = 0
    near_duplicates: int | None = None  # None: not looked for
    repetitive: int = 0
    personal: dict[str, int] = field(default_factory=dict)  # finds by kind
    labels: dict[str, int] = field(default_factory=dict)
    leaked: dict[str, int] = field(default_factory=dict)  # examples that overlap another file, by its name
    samples: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, with the warnings in words."""
        return asdict(self) | {"warnings": self.warnings()}

    def warnings(self) -> list[str]:
        """What deserves a look before training."""
        found = []
        if self.unusable:
            found.append(f"{self.unusable:,} rows cannot be used")
        if self.longer:
            found.append(f"{self.longer:,} examples are longer than {self.max_length} tokens and would be cut")
        if self.duplicates:
            found.append(f"{self.duplicates:,} rows are the same as an earlier one")
        if self.near_duplicates:
            found.append(f"{self.near_duplicates:,} rows are nearly the same as an earlier one")
        if self.repetitive:
            found.append(f"{self.repetitive:,} texts mostly repeat themselves")
        if self.personal:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.personal.items()))
            found.append(f"personal data or secrets: {kinds}")
        if self.labels and max(self.labels.values()) > 10 * min(self.labels.values()):
            found.append("the commonest label is more than ten times as frequent as the rarest")
        found += [f"{count:,} rows overlap {name}" for name, count in self.leaked.items() if count]
        return found


def inspect(
    settings: Data, model: str, max_length: int, samples: int = 3, near: float = 0.0, against: Sequence[str] = ()
) -> Inspection:
    """Read all rows once and tell what is in them.

    Args:
        settings: `train` is the location.
        model: whose tokenizer counts.
        max_length: tokens that an example may have.
        samples: how many examples to keep.
        near: Jaccard similarity from which on rows are near duplicates; 0: they are not looked for.
        against: locations of held-out data that no row should overlap.

    Raises:
        ValueError: a number is out of range, the location or the tokenizer cannot be read, or nothing in it has a
            known format.
    """
    if wrong := _errors(max_length, samples, near):
        raise ValueError("\n".join(wrong))
    count = TokenCounter(model)
    found = Inspection(settings.train, tokenizer=count.name, max_length=max_length)
    overlaps = {name: Overlap(_examples(settings, name)) for name in against}
    exact, nearly = Exact(), Near(near) if near else None
    kinds: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    rows = Rows(settings)
    waiting: list[str] = []
    for item in rows:
        found.rows += 1
        if isinstance(item, DataError):
            found.unusable += 1
            if len(found.errors) < LISTED:
                found.errors.append(str(item))
            continue
        _look(item, found, exact, nearly, kinds)
        if rows.format == "classification":
            labels[item.examples[0].completion.strip()] += 1
        runs = list(runs_of(item.examples[-1])) if overlaps else []
        for overlap in overlaps.values():
            overlap.add_runs(runs)
        if len(found.samples) < samples:
            found.samples.append(item.row.fields)
        waiting.append(item.text)
        if len(waiting) == BATCH:
            count.add(waiting)
            waiting = []
    count.add(waiting)
    if not found.examples and found.errors:
        raise ValueError(found.errors[0])
    found.format, found.personal, found.labels = rows.format, dict(kinds), dict(labels.most_common())
    found.leaked = {name: overlap.count() for name, overlap in overlaps.items()}
    found.tokens, found.histogram, found.longer = count.quantiles(), count.histogram(), count.above(max_length)
    return found


def _errors(max_length: int, samples: int, near: float) -> list[str]:
    """Invalid numbers in words."""
    found = []
    if max_length < 1:
        found.append(f"--max-length must be > 0, got {max_length}")
    if samples < 0:
        found.append(f"--samples must be >= 0, got {samples}")
    if not 0 <= near < 1:
        found.append(f"--near must be >= 0 and < 1, got {near:g}")
    return found


def _look(item: Read, found: Inspection, exact: Exact, nearly: Near | None, kinds: Counter[str]) -> None:
    found.examples += len(item.examples)
    if exact.add(item.name, item.pair) is not None:
        found.duplicates += 1
    elif nearly is not None and nearly.add(item.name, item.pair) is not None:
        found.near_duplicates = (found.near_duplicates or 0) + 1
    found.repetitive += repeats(item.text) is not None
    kinds.update(personal.find(item.row.fields))


def _examples(settings: Data, location: str) -> list[Example]:
    return [item.examples[-1] for item in Rows(settings, location) if isinstance(item, Read)]


def show(found: Inspection) -> None:
    """Print an inspection for the terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{found.location}: format {found.format}", markup=False)
    console.print(f"{found.rows:,} rows, {found.examples:,} examples, {found.unusable:,} rows cannot be used")
    for error in found.errors:
        console.print(f"  {error}", markup=False)
    table = Table(box=None, title=f"Tokens of an example ({found.tokenizer})", title_justify="left", title_style="")
    for heading in ("from", "to", "examples"):
        table.add_column(heading, justify="right")
    table.add_column("")
    most = max((count for *_, count in found.histogram), default=1)
    for low, high, count in found.histogram:
        table.add_row(f"{low:,}", f"{high:,}", f"{count:,}", "█" * round(40 * count / most))
    console.print(table)
    console.print("  ".join(f"{name} {value:,}" for name, value in found.tokens.items()))
    if found.labels:
        console.print(
            "Labels: " + ", ".join(f"{label} {count:,}" for label, count in found.labels.items()), markup=False
        )
    for number, sample in enumerate(found.samples, start=1):
        console.print(f"\nSample {number}", markup=False)
        for key, value in sample.items():
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            console.print(f"  {key}: {shown[:300]}{' ...' if len(shown) > 300 else ''}", markup=False)
    console.print()
    for warning in found.warnings() or ["nothing to warn of"]:
        console.print(f"! {warning}" if found.warnings() else warning, markup=False)

"""`tunebench table`: records in, a table out."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bench.records.schema import Record
from bench.records.store import scan
from bench.report.formats import FORMATS
from bench.report.sections import BASE, HEADINGS
from bench.report.table import Table, build
from bench.report.terminal import make_console, render, show

RESULTS = Path("results/runs")
SUFFIXES = {".md": "md", ".csv": "csv", ".html": "html", ".tex": "latex", ".json": "json", ".txt": "terminal"}
DESCRIPTION = """Show the results of runs as a table: one row for each configuration, with the mean and the 95% interval
over its seeds. Runs that cannot be compared (another model, task, hardware, budget or version) stand in
sections of their own."""
EXAMPLES = """examples:
  tunebench table                                   the runs in results/runs
  tunebench table results/runs/cpu-amd-epyc-2       those on one machine
  tunebench table --where task=pydoc 'method=lora*' some of them; the base row stays
  tunebench table --where method.rank=8             by a setting of their configuration
  tunebench table --columns validation_loss_nats,peak_train_bytes
  tunebench table --tuned --ranks                   each method at its best on validation; ranks over tasks
  tunebench table --pareto validation_loss_nats,peak_train_bytes
  tunebench table --out table.html                  as a file: .md .csv .html .tex .json
  tunebench table --format csv > results.csv
"""


class UsageError(ValueError):
    """What the user asked for cannot be done; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 for a request that cannot be met."""
    options = _parser().parse_args(argv)
    try:
        table = _table(options)
        _deliver(table, options)
    except ValueError as error:
        print(f"tunebench table: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tunebench table",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    roots = f"folders to search for records, or record.json files (default: {RESULTS})"
    add("results", nargs="*", type=Path, default=[RESULTS], metavar="RESULTS", help=roots)
    add("--by", default="", metavar="KEYS", help=f"order the sections by these, of {', '.join(HEADINGS)}")
    add("--format", choices=["terminal", *FORMATS], help="default: by the ending of --out, else terminal")
    add("--out", type=Path, metavar="FILE", help="write to FILE instead of standard output")
    add("--columns", metavar="A,B,C", help="show these columns, named as in the header of --format csv")
    tuned = "of each method only the configuration that is best on validation, by METRIC or the task's main one"
    add("--tuned", nargs="?", const="", metavar="METRIC", help=tuned)
    front = "mark the Pareto front of these columns; add :min or :max to one that does not say which end is better"
    add("--pareto", default="", metavar="A,B", help=front)
    ranks = "rank the methods over several tasks, by METRIC or each task's main one"
    add("--ranks", nargs="?", const="", metavar="METRIC", help=ranks)
    where = "only records for which all of these hold; VALUE may be a pattern, or several: a,b"
    add("--where", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=where)
    return parser


def _table(options: argparse.Namespace) -> Table:
    for flag, value in (("--tuned", options.tuned), ("--ranks", options.ranks)):
        if value and Path(value).exists():
            raise UsageError(f"{flag} takes a metric, got the path {value}; name the folders of results first")
    for root in options.results:
        if not root.exists() and root != RESULTS:
            raise UsageError(f"there is no file or folder {root}")
    found, damaged = scan(options.results)
    for error in damaged:
        print(f"tunebench table: damaged record left out: {error}", file=sys.stderr)
    if not found:
        where = ", ".join(map(str, options.results))
        raise UsageError(f"no records in {where}; `tunebench sweep` makes some, or name another folder")
    kept = _filter(found, options.where)
    columns = _names(options.columns) if options.columns is not None else None
    return build(
        list(kept.values()),
        list(kept),
        by=_names(options.by),
        select=columns,
        tuned=options.tuned,
        pareto=_names(options.pareto),
        ranks=options.ranks,
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _filter(found: dict[Path, Record], conditions: Sequence[str]) -> dict[Path, Record]:
    """The records that meet all conditions, and the base of each of them."""
    wanted = [_condition(text) for text in conditions]
    values = {folder: _values(record, folder) for folder, record in found.items()}
    for key, _ in wanted:
        known = {name for each in values.values() for name in each}
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"--where: no record has a key {key!r}{hint}")
    kept = {
        folder: record
        for folder, record in found.items()
        if all(any(fnmatchcase(values[folder].get(key, ""), p) for p in patterns) for key, patterns in wanted)
    }
    if not kept:
        raise UsageError(f"none of {len(found)} records has {' '.join(conditions)}")
    served = {(record.model, record.task) for record in kept.values()}
    bases = {f: r for f, r in found.items() if r.method == BASE and (r.model, r.task) in served}
    return {folder: record for folder, record in found.items() if folder in kept or folder in bases}


def _condition(text: str) -> tuple[str, list[str]]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--where takes KEY=VALUE, got {text!r}")
    return key, value.split(",")


def _values(record: Record, folder: Path) -> dict[str, str]:
    """What `--where` can ask a record for: its settings by dotted key, and what identifies it."""
    found = _flat(record.config, "")
    names = ("method", "model", "task", "seed", "run_id", "group", "status")
    found |= {name: str(getattr(record, name)) for name in names}
    hardware = record.environment.hardware if record.environment else folder.parent.name
    settings = record.config.get("budget")
    return found | {"hardware": hardware, "budget": str(settings.get("name", "")) if isinstance(settings, dict) else ""}


def _flat(settings: dict[str, Any], prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: str(value)}
    return found


def _deliver(table: Table, options: argparse.Namespace) -> None:
    chosen = options.format
    if chosen is None:
        ending = options.out.suffix.lower() if options.out else ".txt"
        if ending not in SUFFIXES:
            raise UsageError(f"--out: cannot tell the format from {options.out.name!r}; add --format")
        chosen = SUFFIXES[ending]
    if options.out is None and chosen == "terminal":
        show(table, make_console())
        return
    text = render(table) if chosen == "terminal" else FORMATS[chosen](table)
    if options.out is None:
        sys.stdout.write(text)
        return
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {options.out}: {error.strerror}") from error
    print(f"wrote {options.out}", file=sys.stderr)

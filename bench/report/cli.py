"""`tunebench table`: records in, a table out."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.records.find import Listing
from bench.records.store import read_listing, without_collections
from bench.report.formats import FORMATS
from bench.report.remember import Remembered
from bench.report.sections import HEADINGS, MIXABLE
from bench.report.selection import RESULTS, UsageError, locate, select
from bench.report.table import Table, build
from bench.report.terminal import make_console, render, show

SUFFIXES = {".md": "md", ".csv": "csv", ".html": "html", ".tex": "latex", ".json": "json", ".txt": "terminal"}
DESCRIPTION = """Show the results of runs as a table: one row for each configuration, with the mean and the 95% interval
over its seeds. Runs that cannot be compared (another model, task, hardware, budget or version) stand in
sections of their own."""
EXAMPLES = """examples:
  tunebench table                                   the runs in results/runs
  tunebench table results/runs/cpu-amd-epyc-2       those on one machine
  tunebench table --where task=pydoc 'method=lora*' some of them; the base row stays
  tunebench table --where 'method.rank>=8 and not (seed=0 or training.tokens_per_s<1000)'
  tunebench table --columns method.rank,validation_loss_nats,peak_train_bytes
  tunebench table --tuned --ranks                   each method at its best on validation; ranks over tasks
  tunebench table --pareto validation_loss_nats,peak_train_bytes
  tunebench table --by task,method.rank             a section for each task and rank
  tunebench table 'results/*/cpu-*' --mix hardware  several machines in one section, marked
  tunebench table --out table.html                  as a file: .md .csv .html .tex .json
  tunebench table --format csv > results.csv

conditions (--where):
  KEY=VALUE KEY!=VALUE KEY<VALUE KEY<=VALUE KEY>VALUE KEY>=VALUE, with and, or, not and brackets. A key is a path into
  the record (seed, status, training.tokens_per_s, evaluation.test.metrics.accuracy, environment.python) or its
  configuration (method.rank, train.batch_size), or names a column. A value may be a pattern (*, ?, [...]) or, with
  = and !=, several: a,b. A value in quotes is meant as it is. Numbers are compared as numbers.

Records that were read before are kept in the user's cache directory; TUNEBENCH_CACHE names another one, and there is
no cache if it is empty. For many thousands of rows --format csv is the fastest output.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 for a request that cannot be met."""
    options = _parser().parse_args(argv)
    try:
        chosen = _format(options)
        with without_collections():
            files = locate(options.results)
            if chosen == "terminal" and options.out is None:
                show(_table(files, options)[0], make_console())
            else:
                _deliver(_text(files, chosen, options), options.out)
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
    roots = f"folders to search for records, record.json files, or quoted patterns of these (default: {RESULTS})"
    add("results", nargs="*", type=Path, default=[RESULTS], metavar="RESULTS", help=roots)
    by = f"order the sections by these, of {', '.join(HEADINGS)}; any other key of the records splits them by its value"
    add("--by", default="", metavar="KEYS", help=by)
    mix = f"put what differs in these into one section, with marks: {', '.join(MIXABLE)}"
    add("--mix", default="", metavar="NAMES", help=mix)
    add("--format", choices=["terminal", *FORMATS], help="default: by the ending of --out, else terminal")
    add("--out", type=Path, metavar="FILE", help="write to FILE instead of standard output")
    add("--columns", metavar="A,B,C", help="show these columns, named as with --format csv, or keys")
    tuned = "of each method only the configuration that is best on validation, by METRIC or the task's main one"
    add("--tuned", nargs="?", const="", metavar="METRIC", help=tuned)
    front = "mark the Pareto front of these columns; add :min or :max to one that does not say which end is better"
    add("--pareto", default="", metavar="A,B", help=front)
    ranks = "rank the methods over several tasks, by METRIC or each task's main one"
    add("--ranks", nargs="?", const="", metavar="METRIC", help=ranks)
    where = "only records that meet all of these conditions; the base row stays"
    add("--where", nargs="+", action="extend", default=[], metavar="CONDITION", help=where)
    return parser


def _text(files: Listing, chosen: str, options: argparse.Namespace) -> str:
    asked = {key: value for key, value in vars(options).items() if key not in ("results", "out", "format")}
    remembered = Remembered(files, (chosen, asked))
    text = remembered.read()
    if text is None:
        table, whole = _table(files, options)
        text = render(table) if chosen == "terminal" else FORMATS[chosen](table)
        if whole:  # else the next time must name the damaged ones again
            remembered.write(text)
    return text


def _table(files: Listing, options: argparse.Namespace) -> tuple[Table, bool]:
    """The table, and whether all records could be read."""
    found, damaged = read_listing(files)
    for error in damaged:
        print(f"tunebench table: damaged record left out: {error}", file=sys.stderr)
    if not found:
        raise UsageError(f"none of {len(damaged)} records can be read")
    kept = select(found, options.where)
    table = build(
        list(kept.values()),
        list(kept),
        by=_names(options.by),
        select=_names(options.columns) if options.columns is not None else None,
        mix=_names(options.mix),
        tuned=options.tuned,
        pareto=_names(options.pareto),
        ranks=options.ranks,
    )
    return table, not damaged


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _format(options: argparse.Namespace) -> str:
    if options.format is not None:
        return str(options.format)
    ending = options.out.suffix.lower() if options.out else ".txt"
    if ending not in SUFFIXES:
        raise UsageError(f"--out: cannot tell the format from {options.out.name!r}; add --format")
    return SUFFIXES[ending]


def _deliver(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
    print(f"wrote {out}", file=sys.stderr)

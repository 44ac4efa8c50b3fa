"""`tunebench table`: records in, a table out."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.records.store import without_collections
from bench.report.arguments import CONDITIONS, add_arguments, carry_out
from bench.report.formats import FORMATS
from bench.report.selection import UsageError
from bench.report.table import Table
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
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 for a request that cannot be met."""
    options = _parser().parse_args(argv)
    try:
        with without_collections():
            request = carry_out(options)
            for error in request.damaged:
                print(f"tunebench table: damaged record left out: {error}", file=sys.stderr)
            _deliver(request.table, options)
    except ValueError as error:
        print(f"tunebench table: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tunebench table",
        description=DESCRIPTION,
        epilog=f"{EXAMPLES}\n{CONDITIONS}For many thousands of rows --format csv is the fastest output.\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    add = parser.add_argument
    add("--format", choices=["terminal", *FORMATS], help="default: by the ending of --out, else terminal")
    add("--out", type=Path, metavar="FILE", help="write to FILE instead of standard output")
    return parser


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

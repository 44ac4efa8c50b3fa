"""`tunebench table`: records in, a table out."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.records.find import Listing
from bench.records.store import without_collections
from bench.report.arguments import CONDITIONS, add_arguments, carry_out, command, write_out
from bench.report.formats import FORMATS
from bench.report.remember import Remembered
from bench.report.selection import UsageError, locate
from bench.report.table import Table
from bench.report.terminal import make_console, paint, render

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

FASTEST = "For many thousands of rows --format csv is the fastest output.\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 for a request that cannot be met."""
    options = _parser().parse_args(argv)
    try:
        chosen = _format(options)
        with without_collections():
            files = locate(options.results)
            _deliver(_text(files, chosen, options), options.out)
    except ValueError as error:
        print(f"tunebench table: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command("table", DESCRIPTION, f"{EXAMPLES}\n{CONDITIONS}{FASTEST}")
    add_arguments(parser)
    add = parser.add_argument
    add("--format", choices=["terminal", *FORMATS], help="default: by the ending of --out, else terminal")
    add("--out", type=Path, metavar="FILE", help="write to FILE instead of standard output")
    return parser


def _text(files: Listing, chosen: str, options: argparse.Namespace) -> str:
    asked = {key: value for key, value in vars(options).items() if key not in ("results", "out", "format")}
    console = make_console() if chosen == "terminal" and options.out is None else None
    look = console and (console.width, console.color_system, console.no_color)
    remembered = Remembered(files, (chosen, look, asked))
    text = remembered.read()
    if text is None:
        table, whole = _table(files, options)
        if console is not None:
            text = paint(table, console)
        else:
            text = render(table) if chosen == "terminal" else FORMATS[chosen](table)
        if whole:  # else the next time must name the damaged ones again
            remembered.write(text)
    return text


def _table(files: Listing, options: argparse.Namespace) -> tuple[Table, bool]:
    """The table, and whether all records could be read."""
    request = carry_out(options, files)
    for error in request.damaged:
        print(f"tunebench table: left out: {error}", file=sys.stderr)
    return request.table, not request.damaged


def _format(options: argparse.Namespace) -> str:
    if options.format is not None:
        return str(options.format)
    ending = options.out.suffix.lower() if options.out else ".txt"
    if ending not in SUFFIXES:
        raise UsageError(f"--out: cannot tell the format from {options.out.name!r}; add --format")
    return SUFFIXES[ending]


def _print(text: str) -> None:
    """Write to standard output.

    Raises:
        UsageError: nothing more can be written there, as on a full disk.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tries again at its end
        raise UsageError(f"cannot write to standard output: {error.strerror}") from error


def _deliver(text: str, out: Path | None) -> None:
    if out is None:
        _print(text)
        return
    write_out(out, text)
    print(f"wrote {out}", file=sys.stderr)

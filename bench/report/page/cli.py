"""`tunebench report`: records in, one HTML page out, and its plots as files."""

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from bench.report.arguments import CONDITIONS, add_arguments, carry_out, command, write_out
from bench.report.page import figures
from bench.report.page.render import Origin, report
from bench.report.selection import UsageError
from bench.report.table import Table

DESCRIPTION = """Write one HTML page of the results: a summary in words, the tables, plots, and a page for each run.
It needs no network and no other file, so it can be mailed or archived as it is."""
EXAMPLES = """examples:
  tunebench report                                  results/runs into report.html
  tunebench report --open                           and show it in the browser
  tunebench report --where task=pydoc --out pydoc.html
  tunebench report --figures figures                also every plot as SVG and PNG
"""
OUT = Path("report.html")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 for a request that cannot be met."""
    options = _parser().parse_args(argv)
    try:
        request = carry_out(options, empty=True)
        for error in request.damaged:
            print(f"tunebench report: left out: {error}", file=sys.stderr)
        text = report(request.table, Origin(request.roots, request.damaged))
        write_out(options.out, text)
        print(f"wrote {options.out} ({len(text.encode()) / 2**20:.1f} MiB)", file=sys.stderr)
        if options.figures:
            _figures(request.table, options.figures)
    except ValueError as error:
        print(f"tunebench report: {error}", file=sys.stderr)
        return 2
    if options.open:
        webbrowser.open(options.out.resolve().as_uri())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command("report", DESCRIPTION, f"{EXAMPLES}\n{CONDITIONS}")
    add_arguments(parser)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help=f"where to write it (default: {OUT})")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="write each plot as SVG and PNG into this folder")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    return parser


def _figures(table: Table, folder: Path) -> None:
    try:
        written = figures.write(table, folder)
    except OSError as error:
        raise UsageError(f"cannot write into {folder}: {error.strerror}") from error
    print(f"wrote {len(written)} figures into {folder}", file=sys.stderr)

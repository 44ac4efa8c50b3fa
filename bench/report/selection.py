"""Which records a command shows: the arguments that `table`, `report` and `serve` share, and the table they make."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from bench.records.store import scan
from bench.report.table import Table, build

RESULTS = Path("results/runs")


class UsageError(ValueError):
    """What the user asked for cannot be done; the message says why."""


@dataclass
class Selection:
    """A table, where its records are from, and which files could not be used."""

    table: Table
    roots: str
    warnings: list[str]


def add_selection(parser: argparse.ArgumentParser) -> None:
    roots = f"folders to search for records, or record.json files (default: {RESULTS})"
    parser.add_argument("results", nargs="*", type=Path, default=[RESULTS], metavar="RESULTS", help=roots)


def select(options: argparse.Namespace, empty: bool = False) -> Selection:
    found, damaged = scan(options.results)
    table = build(list(found.values()), list(found))
    return Selection(table, ", ".join(map(str, options.results)), [str(error) for error in damaged])

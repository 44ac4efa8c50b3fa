"""The arguments that `tunebench table`, `report` and `serve` share: which records, and how they are put together."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from bench.records.find import Listing
from bench.records.store import read_listing
from bench.report.facts import HEADINGS, MIXABLE
from bench.report.selection import RESULTS, UsageError, locate, select
from bench.report.table import Table, build
from bench.report.visible import visible

ALWAYS = ("method", "n", "status")  # what every table shows, asked for or not
CONDITIONS = """conditions (--where):
  KEY=VALUE KEY!=VALUE KEY<VALUE KEY<=VALUE KEY>VALUE KEY>=VALUE, with and, or, not and brackets. A key is a path into
  the record (seed, status, training.tokens_per_s, evaluation.test.metrics.accuracy, environment.python) or its
  configuration (method.rank, train.batch_size), or names a column. A value may be a pattern (*, ?, [...]) or, with
  = and !=, several: a,b. A value in quotes is meant as it is. Numbers are compared as numbers.

Records that were read before are kept in the user's cache directory; TUNEBENCH_CACHE names another one, and there is
no cache if it is empty.
"""


@dataclass
class Request:
    """What a command shows: a table, where its records are from, and which files could not be used."""

    table: Table
    roots: str
    damaged: list[str]


def command(name: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """The parser of `tunebench NAME`; the texts of its help keep their lines."""
    raw = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(f"tunebench {name}", description=description, epilog=epilog, formatter_class=raw)


def write_out(path: Path, text: str) -> None:
    """Write what a command made; the folder is made if need be.

    Raises:
        UsageError: that is not possible.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to a command's own."""
    add = parser.add_argument
    roots = f"folders to search for records, record.json files, or quoted patterns of these (default: {RESULTS})"
    add("results", nargs="*", type=Path, default=[RESULTS], metavar="RESULTS", help=roots)
    by = f"order the sections by these, of {', '.join(HEADINGS)}; any other key of the records splits them by its value"
    add("--by", default="", metavar="KEYS", help=by)
    mix = f"put what differs in these into one section, with marks: {', '.join(MIXABLE)}"
    add("--mix", default="", metavar="NAMES", help=mix)
    add("--columns", metavar="A,B,C", help="show these columns, named as with --format csv, or keys")
    tuned = "of each method only the configuration that is best on validation, by METRIC or the task's main one"
    add("--tuned", nargs="?", const="", metavar="METRIC", help=tuned)
    front = "mark the Pareto front of these columns; add :min or :max to one that does not say which end is better"
    add("--pareto", default="", metavar="A,B", help=front)
    ranks = "rank the methods over several tasks, by METRIC or each task's main one"
    add("--ranks", nargs="?", const="", metavar="METRIC", help=ranks)
    where = "only records that meet all of these conditions; the base row stays"
    add("--where", nargs="+", action="extend", default=[], metavar="CONDITION", help=where)


def carry_out(options: argparse.Namespace, files: Listing | None = None, empty: bool = False) -> Request:
    """The table that was asked for.

    Args:
        options: as parsed by a parser with these arguments.
        files: of `options.results`, where they are known already.
        empty: no records at all make a table without sections.

    Raises:
        ValueError: what was asked for cannot be had; the message says why.
    """
    for flag, metric in (("--tuned", options.tuned), ("--ranks", options.ranks)):
        if metric and Path(metric).exists():
            raise UsageError(f"{flag} takes a metric, got the path {metric}; name the folders of results first")
    for condition in options.where:
        if Path(condition).exists():
            raise UsageError(f"--where takes conditions, got the path {condition}; name the folders of results first")
    shown = _columns(options.columns)
    found, damaged = read_listing(files or locate(options.results))
    if not found and not empty:
        where = ", ".join(map(str, options.results))
        if damaged:
            raise UsageError(f"no record in {where} can be used; {visible(str(damaged[0]))}")
        raise UsageError(f"no records in {where}; `tunebench sweep` makes some, or name another folder")
    kept = select(found, options.where) if found else found
    table = build(
        list(kept.values()),
        list(kept),
        by=_names(options.by),
        select=shown,
        mix=_names(options.mix),
        tuned=options.tuned,
        pareto=_names(options.pareto),
        ranks=options.ranks,
    )
    return Request(
        table, ", ".join(map(str, options.results)), [visible(str(error)) for error in (*damaged, *table.damaged)]
    )


def _columns(text: str | None) -> list[str] | None:
    """The columns that --columns names beside those that there always are; None without it."""
    if text is None:
        return None
    if not _names(text):
        raise UsageError("--columns names no column; without it a table has the usual ones")
    return [name for name in dict.fromkeys(_names(text)) if name not in ALWAYS]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]

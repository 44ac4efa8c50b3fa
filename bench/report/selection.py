"""Which records a table is made of: found below folders and filtered by queries; and the keys that its options take."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bench.records.find import Listing, expand, is_pattern, listing
from bench.records.keys import MISSING, keys, value
from bench.records.query import QueryError, parse
from bench.records.schema import Record
from bench.report.columns import columns
from bench.report.facts import BASE, HEADINGS, MIXABLE, SAME_BASE, Facts, Stored, compatible

RESULTS = Path("results/runs")
SOME = 1000  # records that are asked for their keys when a near one is to be offered
Found = dict[Path, Record]  # by the record's folder
Read = Callable[[Record, Path | None], Any]


class UsageError(ValueError):
    """What the user asked for cannot be done; the message says why."""


def locate(roots: Sequence[Path]) -> Listing:
    """The files of records below `roots`, whatever `bench.records.store.scan` takes.

    Raises:
        UsageError: a root does not exist, or matches nothing.
    """
    for root in roots:
        if is_pattern(root):
            if not expand(root):
                raise UsageError(f"no folder and no record.json matches {root}")
        elif not root.exists() and root != RESULTS:
            raise UsageError(f"there is no file or folder {root}")
    return listing(roots)


def select(found: Found, conditions: Sequence[str]) -> Found:
    """The records that meet all `conditions`, queries as `bench.records.query` has them, and the bases of these.

    Raises:
        UsageError: a query cannot be read, asks for a key that no record has, or no record meets them all.
    """
    if not conditions:
        return found
    readers: dict[str, Read] = {}
    try:
        queries = [parse(text) for text in conditions]
        for query in queries:
            for key, position in query.keys:
                readers[key] = _reader(key, found) or _unknown(key, found, query.text, position)
    except QueryError as error:
        raise UsageError(f"--where: {error}") from error
    kept = {}
    for folder, record in found.items():

        def get(key: str, record: Record = record, folder: Path = folder) -> Any:
            return readers[key](record, folder)

        if all(query.matches(get) for query in queries):
            kept[folder] = record
    if not kept:
        raise UsageError(f"none of {len(found)} records has {' '.join(conditions)}")
    return kept | _bases(found, kept)


def _bases(found: Found, kept: Found) -> Found:
    """The records of the base that belong to `kept`: of the same model, task, hardware and data."""
    known, served = Facts(), dict[tuple[str, str], dict[str, dict[str, Any]]]()
    for folder, record in kept.items():
        each = known.of(Stored(record, folder))
        served.setdefault((record.model, record.task), {})[each.key] = each.facts

    def serves(folder: Path, record: Record) -> bool:
        facts = known.of(Stored(record, folder)).facts
        return any(compatible(facts, its, SAME_BASE) for its in served.get((record.model, record.task), {}).values())

    return {folder: record for folder, record in found.items() if record.method == BASE and serves(folder, record)}


def check_by(by: Sequence[str], runs: Sequence[Stored]) -> None:
    """Refuse a key in `by` that is no heading and that no record has.

    Raises:
        UsageError: the message offers a near one.
    """
    for key in by:
        if key not in HEADINGS and all(value(run.record, key, run.folder) is MISSING for run in runs):
            known = {*HEADINGS, *_keys((run.record, run.folder) for run in runs)}
            raise UsageError(f"--by: no record has a key {key!r}{_near(key, known)}")


def check_mix(mix: Sequence[str]) -> None:
    """Refuse a name in `mix` that nothing can be mixed by.

    Raises:
        UsageError: the message offers a near one.
    """
    for name in mix:
        if name not in MIXABLE:
            raise UsageError(f"--mix takes {', '.join(MIXABLE)}, got {name!r}{_near(name, MIXABLE)}")


def _reader(key: str, found: Found) -> Read | None:
    """What reads `key` of a record: the record itself, else a column of the table; None if neither knows it."""
    if any(value(record, key, folder) is not MISSING for folder, record in found.items()):
        return lambda record, folder: value(record, key, folder)
    column = next((column for column in columns(found.values()) if column.key == key), None)
    return None if column is None else lambda record, _: column.value(record)


def _unknown(key: str, found: Found, query: str, position: int) -> Read:
    known = {column.key for column in columns(found.values())} | _keys((r, f) for f, r in found.items())
    raise QueryError(f"no record has a key {key!r}{_near(key, known)}", query, position)


def _keys(runs: Iterable[tuple[Record, Path | None]]) -> set[str]:
    return {key for record, folder in islice(runs, SOME) for key in keys(record, folder)}


def _near(key: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for a key that ends like this one or is spelled like it; else empty."""
    ordered = sorted(known, key=lambda name: (len(name), name))
    near = [name for name in ordered if name.endswith(f".{key}")]
    near = near or difflib.get_close_matches(key, ordered, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""

"""The records that somebody means by what they typed: a run's folder, its record.json, its id, a folder, a pattern."""

import difflib
from pathlib import Path

from bench.records.find import is_pattern
from bench.records.schema import Record
from bench.records.store import RECORD, DamagedRecord, scan

RESULTS = Path("results")
SHOWN = 4  # folders that a message names


class NotFound(ValueError):
    """There is no such run or folder, or not one alone; the message says what there is."""


def named(text: str, results: Path = RESULTS) -> tuple[dict[Path, Record], list[DamagedRecord]]:
    """The records that `text` means, by their folders, and those that cannot be read.

    Args:
        text: a path, a pattern as shells know it, or the id of a run, or a part of it that no other has. Runs lie
            three levels below `results`, as in results/runs/<hardware>/<run id>.
        results: the folder of all results.

    Raises:
        NotFound: `text` means nothing, a run id lies in several folders, or no record there can be read.
    """
    path = Path(text)
    if not path.exists() and not is_pattern(path):
        path = _by_id(text, results)
    found, damaged = scan([path])
    if not found:
        raise NotFound(str(damaged[0]) if damaged else f"no records in {text}")
    return found, damaged


def one(text: str, results: Path = RESULTS) -> tuple[Path, Record]:
    """The one record that `text` means, and its folder.

    Raises:
        NotFound: there is none, or more than one.
    """
    found, _ = named(text, results)
    if len(found) > 1:
        raise NotFound(f"{text} holds {len(found)} records; name one: {next(iter(found))}, ...")
    return next(iter(found.items()))


def _by_id(text: str, results: Path) -> Path:
    there = [path.parent for path in results.glob(f"*/*/*/{RECORD}") if not path.parts[-3].startswith(".")]
    whole = [folder for folder in there if folder.name == text]
    begun = [folder for folder in there if text and folder.name.startswith(text)]
    found = sorted(whole or begun or (folder for folder in there if text and text in folder.name))
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(map(str, found[:SHOWN])) + (", ..." if len(found) > SHOWN else "")
        raise NotFound(f"{text} {'lies in' if whole else 'may be any of'} {len(found)} folders; name one: {shown}")
    # what was typed may be only the beginning of an id
    starts = {name[:length]: name for name in sorted({f.name for f in there}) for length in (len(text), len(name))}
    near = difflib.get_close_matches(text, starts, n=1, cutoff=0.5)
    hint = f"; did you mean {starts[near[0]]!r}?" if near else ""
    raise NotFound(f"there is no file or folder {text!r}, and no run of that id below {results}{hint}")

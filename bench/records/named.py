"""The records that somebody means by what they typed: a run's folder, its record.json, its id, a folder, a pattern."""

import difflib
from pathlib import Path

from bench.records.find import is_pattern
from bench.records.schema import Record
from bench.records.store import RECORD, DamagedRecord, scan

RESULTS = Path("results")


class NotFound(ValueError):
    """There is no such run or folder, or not one alone; the message says what there is."""


def named(text: str, results: Path = RESULTS) -> tuple[dict[Path, Record], list[DamagedRecord]]:
    """The records that `text` means, by their folders, and those that cannot be read.

    Args:
        text: a path, a pattern as shells know it, or the id of a run that lies two levels below `results`, as in
            results/runs/<hardware>/<run id>.
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


def _by_id(run_id: str, results: Path) -> Path:
    there = [path.parent for path in results.glob(f"*/*/*/{RECORD}") if not path.parts[-3].startswith(".")]
    found = sorted(folder for folder in there if folder.name == run_id)
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"{run_id} lies in {len(found)} folders; name one: {', '.join(map(str, found))}")
    near = difflib.get_close_matches(run_id, sorted({folder.name for folder in there}), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise NotFound(f"there is no file or folder {run_id!r}, and no run of that id below {results}{hint}")

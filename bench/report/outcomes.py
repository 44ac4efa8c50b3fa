"""Per-example outcomes: the interval over the examples with one seed, and which rows are tied with the best.

The lines of examples.jsonl are used for a column only if their mean is the record's value, so that a file of
another run, a torn one or a differently weighted mean never decides anything.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.records.store import EXAMPLES, DamagedRecord, read_lines
from bench.report import imported
from bench.report.columns import Column
from bench.report.sections import Group, Stored
from bench.report.statistics import Interval, mean_interval, same_mean, same_over_seeds, wilson

TOLERANCE = 1e-4  # between a record's value and the mean of its outcomes


class Outcomes:
    """Reads each folder's examples.jsonl once; `damaged` names those that could not be used."""

    def __init__(self) -> None:
        self._lines: dict[Path, list[dict[str, Any]]] = {}
        self.damaged: list[DamagedRecord] = []

    def interval(self, group: Group, column: Column) -> Interval | None:
        """Interval over the examples, for one seed: Wilson's of a proportion, Student's of any other mean.

        None if the column is no mean over examples.
        """
        if len(group.measured) != 1:
            return None
        found = list(self._of_run(group.measured[0], column).values())
        if not found:
            return imported.interval(group.measured[0].record, column.key)
        proportion = set(found) <= {0.0, 1.0}
        return wilson(round(sum(found)), len(found)) if proportion else mean_interval(found)

    def tied(self, best: Group, other: Group, column: Column) -> bool | None:
        """Whether `other` cannot be told apart from `best` at the 5% level; None if nothing allows a test.

        Outcomes of examples are compared where both have them, averaged over seeds; else the results of common seeds.
        """
        if best.imported and other.imported:
            return imported.same_share(best.records[0], other.records[0], column.key)
        one, two = self._of_group(best, column), self._of_group(other, column)
        if one and one.keys() == two.keys():
            return same_mean(list(one.values()), [two[key] for key in one])
        first, second = _by_seed(best, column), _by_seed(other, column)
        seeds = first.keys() & second.keys()
        return same_over_seeds([first[s] for s in seeds], [second[s] for s in seeds]) if len(seeds) > 1 else None

    def _of_group(self, group: Group, column: Column) -> dict[str, float]:
        """Outcome of each example, averaged over the seeds; empty unless every seed has them for the same examples."""
        found = [self._of_run(run, column) for run in group.measured]
        if not all(found) or any(each.keys() != found[0].keys() for each in found):
            return {}
        return {key: fmean(each[key] for each in found) for key in found[0]}

    def _of_run(self, run: Stored, column: Column) -> dict[str, float]:
        expected = column.value(run.record)
        if not column.outcome or expected is None or run.folder is None:
            return {}
        found = {
            str(line.get("id")): float(value)
            for line in self._read(run.folder)
            if isinstance(value := _outcome(line, column.outcome), int | float)
        }
        return found if found and abs(fmean(found.values()) - expected) <= TOLERANCE else {}

    def _read(self, folder: Path) -> Sequence[dict[str, Any]]:
        if folder not in self._lines:
            self._lines[folder] = []
            try:
                self._lines[folder] = read_lines(folder / EXAMPLES)
            except FileNotFoundError:
                pass
            except DamagedRecord as error:
                self.damaged.append(error)
        return self._lines[folder]


def _outcome(line: dict[str, Any], name: str) -> Any:
    found = line.get("metrics")
    return found.get(name, line.get(name)) if isinstance(found, dict) else line.get(name)


def _by_seed(group: Group, column: Column) -> dict[int, float]:
    values = {run.record.seed: column.value(run.record) for run in group.measured}
    return {seed: value for seed, value in values.items() if value is not None}

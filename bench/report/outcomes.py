"""Per-example outcomes: the interval over the examples with one seed, and the tests against the best row.

The lines of examples.jsonl are used for a column only if their mean is the record's value, so that a file of
another run, a torn one or a differently weighted mean never decides anything.
"""

import math
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.records.store import EXAMPLES, DamagedRecord, read_lines
from bench.report import imported
from bench.report.columns import Column
from bench.report.memo import Figures, Memo, key
from bench.report.sections import Group, Stored
from bench.report.statistics import Interval, mean_interval, wilson
from bench.report.statistics.bootstrap import bootstrap
from bench.report.statistics.hypotheses import crossed_apart, paired_interval, paired_p_values, paired_t, unpaired_t

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

VERSION = 2  # of the methods behind every figure that is remembered
TOLERANCE = 1e-4  # between a record's value and the mean of its outcomes
SEED = operator.attrgetter("record.seed")
Examples = tuple[tuple[str, ...], Any]  # ids, and an array of what each example gave
Sides = tuple[list[Stored], list[Stored]]


class Outcomes:
    """Statistics over examples, each file read at most once; `damaged` names those that could not be used."""

    def __init__(self, memo: Memo | None = None) -> None:
        self.damaged: list[DamagedRecord] = []
        self._memo = memo or Memo(None)
        self._read: dict[Path, dict[str, Examples]] = {}
        self._contents: dict[Path, bytes | None] = {}
        self._ids: dict[tuple[str, ...], tuple[str, ...]] = {}

    def intervals(self, groups: Sequence[Group], column: Column) -> list[Interval | None]:
        """For each group of one run, its interval over the examples: Wilson's of a proportion, else the bootstrap's.

        None for a group of several runs, and if the column is no mean over examples.
        """
        runs = [group.measured if len(group.measured) == 1 else [] for group in groups]

        def compute(places: list[int]) -> list[Figures]:
            return _intervals([self._matrix(runs[place], column) for place in places])

        figures = self._figures("interval", column, [(each, []) for each in runs], compute)
        return [
            imported.interval(group.records[0], column.key) if low is None or high is None else Interval(low, high)
            for group, (low, high) in zip(groups, figures, strict=True)
        ]

    def p_values(self, best: Group, others: Sequence[Group], column: Column) -> list[float | None]:
        """For each of `others`, the p-value of its being as good as `best`; None if nothing allows a test.

        All runs of both sides are compared, as those are that the table's means are of: outcomes of the same examples
        where all have them, else the results. They are paired by their seed if the seeds are the same, or if there is
        one run on each side. One run against several allows no test.
        """
        sides = [(best.measured, other.measured) for other in others]

        def compute(places: list[int]) -> list[Figures]:
            arrays = {place: both for place in places if (both := self._aligned(sides[place], column))}
            paired = [place for place in arrays if _paired(sides[place])]
            found = dict(zip(paired, paired_p_values([arrays[place] for place in paired]), strict=True))
            found |= {place: crossed_apart(*both) for place, both in arrays.items() if place not in found}
            return [(found.get(place), None) for place in places]

        asked = [each if _testable(each) else ([], []) for each in sides]
        figures = self._figures("test", column, asked, compute)
        return [
            _without_examples(each, column) if p is None else p for each, (p, _) in zip(sides, figures, strict=True)
        ]

    def difference(self, first: list[Stored], second: list[Stored], column: Column) -> tuple[Interval | None, str]:
        """95% interval of the mean of first - second over paired runs, and what it rests on, or why there is none."""
        assert len(first) == len(second)
        arrays = self._aligned((first, second), column) if column.outcome else None
        seeds = f"{len(first)} seeds" if len(first) > 1 else ""
        if arrays is not None:
            both = " and ".join(filter(None, (seeds, f"{arrays[0].shape[1]} examples")))
            interval = paired_interval(*arrays)
            return interval, f"paired over {both}" if interval else f"too little varies over {both}"
        if seeds:
            gaps = _gaps((first, second), column)
            interval = mean_interval(gaps)
            why = f"the same in all {seeds}" if all(map(math.isfinite, gaps)) else "not finite"
            return interval, f"paired over {seeds}" if interval else why
        if not column.outcome:
            return None, "one run on each side"
        there = all(self._of_run(run, column) for run in (*first, *second))
        return None, "other test examples" if there else "no outcomes of examples"

    def save(self) -> None:
        """Remember what was computed for the next table."""
        self._memo.save()

    def _figures(
        self, what: str, column: Column, runs: Sequence[Sides], compute: Callable[[list[int]], list[Figures]]
    ) -> list[Figures]:
        """Figures of all sides' runs, remembered or computed; what rests on a damaged file is never remembered."""
        if not column.outcome:
            return [(None, None)] * len(runs)
        keys = [self._key(what, column, each) for each in runs]
        known = self._memo.known([each for each in keys if each])
        missing = [place for place, each in enumerate(keys) if each and each not in known]
        if missing:
            fresh = dict(zip(missing, compute(missing), strict=True))
            broken = {error.path.parent for error in self.damaged}
            whole = [place for place in missing if not any(r.folder in broken for side in runs[place] for r in side)]
            self._memo.add({each: fresh[place] for place in whole if (each := keys[place])})
            known |= {each: fresh[place] for place in missing if (each := keys[place])}
        return [known[each] if each else (None, None) for each in keys]

    def _key(self, what: str, column: Column, sides: Sides) -> bytes | None:
        """What the figure depends on, hashed; None if a run has no outcomes at all."""
        parts: list[object] = []
        for run in (*sides[0], *sides[1]):
            content = self._content(run.folder)
            if content is None or (value := column.value(run.record)) is None:
                return None
            parts += content, value, _expected(run)
        return key(VERSION, what, column.outcome, len(sides[0]), _paired(sides), parts) if parts else None

    def _content(self, folder: Path | None) -> bytes | None:
        if folder is not None and folder not in self._contents:
            try:
                self._contents[folder] = self._memo.content(folder / EXAMPLES)
            except OSError as error:
                self._contents[folder] = None
                if not isinstance(error, FileNotFoundError | NotADirectoryError):
                    self.damaged.append(DamagedRecord(folder / EXAMPLES, f"cannot be read: {error.strerror}"))
        return None if folder is None else self._contents[folder]

    def _aligned(self, sides: Sides, column: Column) -> "tuple[Array, Array] | None":
        """Outcomes of both sides, of shape (runs, examples); None unless all runs have them for the same examples."""
        both = self._matrix([*sides[0], *sides[1]], column)
        return None if both is None else (both[: len(sides[0])], both[len(sides[0]) :])

    def _matrix(self, runs: Sequence[Stored], column: Column) -> "Array | None":
        """Outcomes of shape (runs, examples), the examples in order of their id."""
        import numpy as np

        found = [self._of_run(run, column) for run in runs]
        usable = [each for each in found if each is not None]
        if not usable or len(usable) < len(found) or any(ids != usable[0][0] for ids, _ in usable):
            return None
        return np.array([values for _, values in usable])

    def _of_run(self, run: Stored, column: Column) -> Examples | None:
        """The outcomes of a run; None unless their mean is the record's value."""
        expected = column.value(run.record)
        if expected is None or run.folder is None:
            return None
        if run.folder not in self._read:
            self._read[run.folder] = self._load(run.folder / EXAMPLES, _expected(run))
        found = self._read[run.folder].get(column.outcome)
        return found if found and abs(float(found[1].mean()) - expected) <= TOLERANCE else None

    def _load(self, path: Path, expected: int | None) -> dict[str, Examples]:
        """All numbers of a file by their name, in order of the examples' ids."""
        import numpy as np

        try:
            found = _by_name(path, expected)
        except FileNotFoundError:
            return {}
        except OSError as error:
            self.damaged.append(DamagedRecord(path, f"cannot be read: {error.strerror}"))
            return {}
        except DamagedRecord as error:
            self.damaged.append(error)
            return {}
        made = {}
        for name, values in found.items():
            ids = tuple(sorted(values))
            made[name] = self._ids.setdefault(ids, ids), np.array([values[each] for each in ids], dtype=float)
        return made


def _expected(run: Stored) -> int | None:
    """How many test examples the record counts."""
    test = run.record.evaluation.test if run.record.evaluation else None
    return test.examples if test else None


def _by_name(path: Path, expected: int | None) -> dict[str, dict[str, float]]:
    """The numbers in examples.jsonl by their name and the example's id.

    Raises:
        DamagedRecord: a line is no JSON object, ids are missing or come twice, a number is beyond every float, or the
            examples are not as many as the record counts.
        OSError: the file cannot be read.
    """
    found: dict[str, dict[str, float]] = {}
    lines, ids = read_lines(path), set[str]()
    for number, line in enumerate(lines, start=1):
        metrics, name = line.get("metrics"), line.get("id")
        if name is None or str(name) in ids:
            raise DamagedRecord(path, f"line {number} has " + ("no id" if name is None else f"the id {name!r} again"))
        ids.add(str(name))
        for what, value in (line | metrics if isinstance(metrics, dict) else line).items():
            if isinstance(value, int | float):
                try:
                    found.setdefault(what, {})[str(name)] = float(value)
                except OverflowError:
                    raise DamagedRecord(path, f"line {number}: {what} is beyond every number") from None
    if expected is not None and len(ids) != expected:
        raise DamagedRecord(path, f"has {len(ids)} whole lines, and the record counts {expected} test examples")
    return found


def _intervals(samples: "Sequence[Array | None]") -> list[Figures]:
    """Interval of the mean of each sample of shape (1, examples)."""
    import numpy as np

    found: list[Figures] = [(None, None)] * len(samples)
    waiting = {}
    for place, sample in enumerate(samples):
        if sample is not None and np.isin(sample, (0, 1)).all():
            low, high = wilson(int(sample.sum()), sample.size)
            found[place] = low, high
        elif sample is not None:
            waiting[place] = sample[0]
    for place, (interval, _) in zip(waiting, bootstrap(list(waiting.values())), strict=True):
        found[place] = interval or (None, None)
    return found


def _paired(sides: Sides) -> bool:
    """Whether run i of the first side belongs to run i of the second: same seeds, or one run each whatever theirs."""
    first, second = sides
    return len(first) == len(second) == 1 or list(map(SEED, first)) == list(map(SEED, second))


def _testable(sides: Sides) -> bool:
    """Whether both sides have one run, or both several."""
    return (len(sides[0]) > 1) == (len(sides[1]) > 1)


def _without_examples(sides: Sides, column: Column) -> float | None:
    """p-value from the results of several seeds, or of two imported runs from their shares alone."""
    if not _testable(sides):
        return None
    if len(sides[0]) > 1 and _paired(sides):
        return paired_t(_gaps(sides, column))
    if len(sides[0]) > 1:
        first, second = ([v for run in side if (v := column.value(run.record)) is not None] for side in sides)
        return unpaired_t(first, second)
    one, two = sides[0][0].record, sides[1][0].record
    return imported.p_value(one, two, column.key) if one.source and two.source else None


def _gaps(sides: Sides, column: Column) -> list[float]:
    """The difference of the column's values between the runs of each pair that both have one."""
    read = column.value
    return [
        one - two
        for first, second in zip(*sides, strict=True)
        if (one := read(first.record)) is not None and (two := read(second.record)) is not None
    ]

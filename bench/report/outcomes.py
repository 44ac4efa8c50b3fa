"""Per-example outcomes: the interval over the examples with one seed, and the tests against the best row.

The lines of examples.jsonl are used for a column only if their mean is the record's value, so that a file of
another run, a torn one or a differently weighted mean never decides anything.
"""

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
from bench.report.statistics.tests import paired_interval, paired_p_values, paired_t

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

VERSION = 1  # of the methods behind every figure that is remembered
TOLERANCE = 1e-4  # between a record's value and the mean of its outcomes
Examples = tuple[tuple[str, ...], Any]  # ids, and an array of what each example gave
Pair = tuple[list[Stored], list[Stored]]  # run i of the first is compared with run i of the second


class Outcomes:
    """Statistics over examples, each file read at most once; `damaged` names those that could not be used."""

    def __init__(self, memo: Memo | None = None) -> None:
        self.damaged: list[DamagedRecord] = []
        self._memo = memo or Memo(None)
        self._read: dict[Path, dict[str, Examples]] = {}
        self._contents: dict[Path, bytes | None] = {}
        self._by_seed: dict[int, dict[int, Stored]] = {}  # by the identity of a group, all of which outlive this
        self._ids: dict[tuple[str, ...], tuple[str, ...]] = {}

    def intervals(self, groups: Sequence[Group], column: Column) -> list[Interval | None]:
        """For each group of one run, its interval over the examples: Wilson's of a proportion, else the bootstrap's.

        None for a group of several runs, and if the column is no mean over examples.
        """
        runs = [list(found.values()) if len(found := self._runs(group)) == 1 else [] for group in groups]

        def compute(places: list[int]) -> list[Figures]:
            return _intervals([self._matrix(runs[place], column) for place in places])

        figures = self._figures("interval", column, runs, compute)
        return [
            imported.interval(group.records[0], column.key) if low is None or high is None else Interval(low, high)
            for group, (low, high) in zip(groups, figures, strict=True)
        ]

    def p_values(self, best: Group, others: Sequence[Group], column: Column) -> list[float | None]:
        """For each of `others`, the p-value of its being as good as `best`; None if nothing allows a test.

        Outcomes of the same examples are compared where both have them, else the results of common seeds. Runs are
        paired by their seed; where a seed is missing on one side its run is left out, and where no seed is common
        they are paired in order.
        """
        pairs = [_paired(self._runs(best), self._runs(other)) for other in others]

        def compute(places: list[int]) -> list[Figures]:
            tested = {place: arrays for place in places if (arrays := self._aligned(pairs[place], column))}
            found = dict(zip(tested, paired_p_values(list(tested.values())), strict=True))
            return [(found.get(place), None) for place in places]

        figures = self._figures("test", column, [[*first, *second] for first, second in pairs], compute)
        return [
            _without_examples(pair, column) if p is None else p for pair, (p, _) in zip(pairs, figures, strict=True)
        ]

    def difference(self, first: list[Stored], second: list[Stored], column: Column) -> tuple[Interval | None, str]:
        """95% interval of the mean of first - second over paired runs, and what it rests on, or why there is none."""
        assert len(first) == len(second)
        pair = first, second

        def compute(places: list[int]) -> list[Figures]:
            arrays = self._aligned(pair, column)
            return [(arrays and paired_interval(*arrays)) or (None, None) for _ in places]

        ((low, high),) = self._figures("difference", column, [[*first, *second]], compute)
        seeds = f"{len(first)} seeds" if len(first) > 1 else ""
        if low is not None and high is not None:
            return Interval(low, high), f"over {' and '.join(filter(None, (seeds, 'the test examples')))}"
        interval = mean_interval(_gaps(pair, column))
        return interval, f"over {seeds}" if interval else "one run on each side, and no outcomes of the same examples"

    def _runs(self, group: Group) -> dict[int, Stored]:
        """The runs that count, by seed."""
        if id(group) not in self._by_seed:
            self._by_seed[id(group)] = {run.record.seed: run for run in group.measured}
        return self._by_seed[id(group)]

    def save(self) -> None:
        """Remember what was computed for the next table."""
        self._memo.save()

    def _figures(
        self, what: str, column: Column, runs: Sequence[list[Stored]], compute: Callable[[list[int]], list[Figures]]
    ) -> list[Figures]:
        """Figures of each list of runs, remembered or computed; what rests on a damaged file is never remembered."""
        if not column.outcome:
            return [(None, None)] * len(runs)
        keys = [self._key(what, column, each) for each in runs]
        known = self._memo.known([each for each in keys if each])
        missing = [place for place, each in enumerate(keys) if each and each not in known]
        if missing:
            fresh = dict(zip(missing, compute(missing), strict=True))
            broken = {error.path.parent for error in self.damaged}
            whole = [place for place in missing if not any(run.folder in broken for run in runs[place])]
            self._memo.add({each: fresh[place] for place in whole if (each := keys[place])})
            known |= {each: fresh[place] for place in missing if (each := keys[place])}
        return [known[each] if each else (None, None) for each in keys]

    def _key(self, what: str, column: Column, runs: Sequence[Stored]) -> bytes | None:
        """What the figure depends on, hashed; None if a run has no outcomes at all."""
        parts: list[object] = []
        for run in runs:
            content = self._content(run.folder)
            if content is None or (value := column.value(run.record)) is None:
                return None
            parts += content, value
        return key(VERSION, what, column.outcome, parts) if parts else None

    def _content(self, folder: Path | None) -> bytes | None:
        if folder is not None and folder not in self._contents:
            self._contents[folder] = self._memo.content(folder / EXAMPLES)
        return None if folder is None else self._contents[folder]

    def _aligned(self, pair: Pair, column: Column) -> "tuple[Array, Array] | None":
        """Outcomes of both sides, of shape (runs, examples); None unless all runs have them for the same examples."""
        import numpy as np

        both = self._matrix([*pair[0], *pair[1]], column)
        return None if both is None else tuple(np.split(both, 2))  # type: ignore[return-value]

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
            self._read[run.folder] = self._load(run.folder / EXAMPLES)
        found = self._read[run.folder].get(column.outcome)
        return found if found and abs(float(found[1].mean()) - expected) <= TOLERANCE else None

    def _load(self, path: Path) -> dict[str, Examples]:
        """All numbers of a file by their name, in order of the examples' ids."""
        import numpy as np

        try:
            lines = read_lines(path)
        except FileNotFoundError:
            return {}
        except DamagedRecord as error:
            self.damaged.append(error)
            return {}
        found: dict[str, dict[str, float]] = {}
        for line in lines:
            metrics = line.get("metrics")
            for name, value in (line | metrics if isinstance(metrics, dict) else line).items():
                if isinstance(value, int | float):
                    found.setdefault(name, {})[str(line.get("id"))] = value
        made = {}
        for name, values in found.items():
            ids = tuple(sorted(values))
            made[name] = self._ids.setdefault(ids, ids), np.array([values[each] for each in ids], dtype=float)
        return made


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


def _paired(first: dict[int, Stored], second: dict[int, Stored]) -> Pair:
    if len(first) == len(second) == 1:  # whatever their seeds
        return [*first.values()], [*second.values()]
    common = [seed for seed in first if seed in second]
    if common:
        return [first[seed] for seed in common], [second[seed] for seed in common]
    both = list(zip(first.values(), second.values(), strict=False))
    return [one for one, _ in both], [two for _, two in both]


def _without_examples(pair: Pair, column: Column) -> float | None:
    """p-value from the results of common seeds, or of two imported runs from their shares alone."""
    if len(pair[0]) > 1:
        return paired_t(_gaps(pair, column))
    one, two = pair[0][0].record, pair[1][0].record
    return imported.p_value(one, two, column.key) if one.source and two.source else None


def _gaps(pair: Pair, column: Column) -> list[float]:
    """The difference of the column's values between the runs of each pair that both have one."""
    differences = []
    for first, second in zip(*pair, strict=True):
        one, two = column.value(first.record), column.value(second.record)
        if one is not None and two is not None:
            differences.append(one - two)
    return differences

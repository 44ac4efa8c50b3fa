"""Tuned comparisons: of each method's configurations the one that is best on validation, with the number tried.

Within a section the configurations of one method differ in settings of the method or of the training loop; they are
its trials. The test split has no part in the choice, so the picked row's test figure is an honest one.
"""

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bench.objective import OBJECTIVES
from bench.report.columns import MAIN_METRICS, Column, columns
from bench.report.sections import Group, Section
from bench.report.statistics import mean

LOSS = "validation_loss_nats"
LIKELIHOOD = (LOSS, "validation_perplexity", "validation_bits_per_byte")
PREFERENCE = "validation_preference_accuracy"
PREFERENCES = {each.name for each in OBJECTIVES.values() if each.preferences}


@dataclass(frozen=True)
class Trials:
    """How a method's configuration was picked."""

    method: str
    count: int  # configurations tried, those that failed included
    failed: int  # configurations without a result
    criterion: Column  # of validation


def check_criterion(name: str, sections: Iterable[Section]) -> None:
    """Refuse a criterion that no section has.

    Raises:
        ValueError: the message offers a near one, and says so where the test split was asked for.
    """
    known = {key for section in sections for key in _criteria(section)}
    if not name or _key(name) in known:
        return
    if name.startswith("test_"):
        raise ValueError(f"--tuned picks on validation, never on test: got {name!r}")
    names = sorted(key.removeprefix("validation_") for key in known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"--tuned takes a metric of validation ({', '.join(names)}), got {name!r}{hint}")


def tune(section: Section, criterion: str = "") -> tuple[Section, list[Trials]]:
    """The section with one configuration for each method, and the trials that these were picked from.

    Args:
        section: with all configurations.
        criterion: name of a validation metric, or `loss`; empty, or unknown here: the task's main metric, else the
            loss, and preference accuracy for a method that does not train the likelihood that these measure.
    """
    by_method: dict[str, list[Group]] = {}
    picked = [group for group in section.groups if group.base or group.imported]  # nobody's trials
    for group in section.groups:
        if not (group.base or group.imported):
            by_method.setdefault(group.records[0].method, []).append(group)
    known = _criteria(section)
    trials = []
    for method, groups in by_method.items():
        column = known.get(_key(criterion)) or _default(groups, known)
        picked.append(min(groups, key=lambda group: _order(group, column, known[LOSS])))
        failed = sum(_score(group, column) is None for group in groups)
        trials.append(Trials(method, len(groups), failed, column))
    return replace(section, groups=picked), trials


def tuning_notes(trials: Sequence[Trials]) -> list[str]:
    """How the rows were picked, and whether the methods had equal chances."""
    if not trials:
        return []
    by_criterion = _together((each.criterion.title, each.method) for each in trials)
    how = next(iter(by_criterion)) if len(by_criterion) == 1 else "; ".join(
        f"{title} for {', '.join(methods)}" for title, methods in by_criterion.items()
    )  # fmt: skip
    found = [
        f"Tuned: of each method's trials the one with the best {how} is shown, the mean over its seeds; test figures "
        "had no part in the choice. What it was picked by flatters it, the more so the more trials there were."
    ]
    counts = _together((str(each.count), each.method) for each in trials)
    if len(counts) > 1:
        said = "; ".join(f"{', '.join(methods)}: {count}" for count, methods in counts.items())
        found.append(f"Unequal chances: the numbers of trials differ ({said}).")
    failures = [f"{each.failed} of {each.method}" for each in trials if each.failed]
    if failures:
        found.append(f"Trials that failed and count as trials: {', '.join(failures)}.")
    return found


def _criteria(section: Section) -> dict[str, Column]:
    return {c.key: c for c in columns(section.records) if c.key.startswith("validation_")}


def _key(name: str) -> str:
    return LOSS if name in ("loss", "val_loss") else name if name.startswith("validation_") else f"validation_{name}"


def _default(groups: Sequence[Group], known: dict[str, Column]) -> Column:
    records = [record for group in groups for record in group.records]
    wanted = [key for key in (*(f"validation_{name}" for name in MAIN_METRICS), LOSS) if key in known]
    wanted = [key for key in wanted if any(known[key].value(record) is not None for record in records)] or [LOSS]
    preferences = all(record.objective in PREFERENCES for record in records)
    if preferences and wanted[0] in LIKELIHOOD and PREFERENCE in known:
        return known[PREFERENCE]
    return known[wanted[0]]


def _score(group: Group, column: Column) -> float | None:
    """Mean over the seeds that succeeded; None if none did, or if it is no number."""
    values = [value for run in group.ok if (value := column.value(run.record)) is not None]
    return mean(values) if values and all(map(math.isfinite, values)) else None


def _order(group: Group, column: Column, loss: Column) -> tuple[bool, float, int, float, str]:
    """The best score first; of equals the one with fewer failures, then the lower loss, then by name."""
    score, tie = _score(group, column), _score(group, loss)
    goodness = 0.0 if score is None else column.better * score
    return score is None, -goodness, len(group.runs) - len(group.ok), math.inf if tie is None else tie, group.label


def _together(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, member in pairs:
        found.setdefault(name, []).append(member)
    return found

"""From rows to the examples of one split: one's own files, or a task of the Hub; what cannot be used is counted."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.config import Data, Task
from bench.data import formats, sources, templates
from bench.data.example import Example
from bench.data.rows import DataError, Row
from bench.data.spool import FEW, spool


@dataclass
class Read:
    """The examples of one split and how they came about."""

    examples: Sequence[Example]
    format: str  # one of bench.config.task.FORMATS; empty where the task's own templates made the examples
    skipped: dict[str, int] = field(default_factory=dict)  # rows left out, by reason


def split(name: str, task: Task, settings: Data, files: dict[str, str]) -> Read | None:
    """Read one split; None where neither the user nor the task names one.

    Args:
        name: train, validation or test.
        task: of source `hub` or `file`.
        settings: where one's own rows are; rows of one's own stand in for all splits of the Hub.
        files: takes the SHA-256 of every file that is read, by its name.

    Raises:
        DataError: a row cannot be used, and `data.on_error` is `stop`.
        ValueError: a location that cannot be read.
    """
    read: dict[str, str] = {}
    rows = _rows(name, task, settings, read)
    if rows is None:
        return None
    found: formats.Examples | Iterator[Example | DataError]
    if templates.used(task):
        found = templates.examples(rows, task, name)
    else:
        found = formats.examples(rows, settings, where=getattr(settings, name) or task.path)
    kept, skipped = usable(found, settings.on_error, name)
    files |= read
    return Read(_with_own_ids(kept, list(read)), getattr(found, "format", None) or "", skipped)


def _rows(name: str, task: Task, settings: Data, files: dict[str, str]) -> Iterator[Row | DataError] | None:
    own = {"train": settings.train, "validation": settings.validation, "test": settings.test}
    if any(own.values()) or task.source == "file":
        return sources.rows(own[name], settings, files) if own[name] else None
    where = {"train": task.train, "validation": task.validation, "test": task.test}[name]
    if where.split == "none":
        return None
    subset = where.subset if where.path else where.subset or task.subset
    revision = "" if where.path else task.revision
    return sources.hub_rows(where.path or task.path, subset, where.split or name, revision)


def usable(found: Iterable[Example | DataError], on_error: str, name: str) -> tuple[Sequence[Example], dict[str, int]]:
    """The examples, and the number of rows that gave none by reason; those that are wrong are listed in the run's log.

    Raises:
        DataError: a row is wrong, and `on_error` is `stop`.
    """
    skipped: Counter[str] = Counter()

    def kept() -> Iterator[Example]:
        for item in found:
            if isinstance(item, Example):
                yield item
            elif isinstance(item, templates.Excluded):
                skipped["left out by task.where"] += 1
            elif on_error == "stop":
                raise item
            else:
                skipped["cannot be used"] += 1
                print(f"{name}: skipped: {item}", flush=True)

    return spool(kept()), dict(skipped)


def _with_own_ids(examples: Sequence[Example], files: Sequence[str]) -> Sequence[Example]:
    """Ids name a file without its folder, so files of one name in two folders need a number."""
    if len(examples) > FEW and len({Path(file).name for file in files}) == len(files):
        return examples
    return spool(_numbered(examples))


def _numbered(examples: Iterable[Example]) -> Iterator[Example]:
    seen: Counter[str] = Counter()
    for example in examples:
        seen[example.id] += 1
        again = seen[example.id]
        yield example if again == 1 else replace(example, id=f"{example.id}~{again}")

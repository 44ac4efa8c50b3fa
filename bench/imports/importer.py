"""What an importer of a source gives, and the checks that every one of them needs to read foreign JSON."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench.records.schema import Record

T = TypeVar("T")


@dataclass(frozen=True)
class Imported:
    """One result of a source: its record, and the lines of its loss curve as steps.jsonl holds them."""

    record: Record
    steps: list[dict[str, Any]]


@dataclass(frozen=True)
class Importer:
    """A source of results.

    `read` makes one file into a record, given the source's commit if that is known; it raises ValueError, with the
    key, or ArithmeticError for a file that it cannot use.
    """

    name: str  # as the command line calls it
    title: str  # as tables call it
    url: str
    inside: str  # the folder of the files, relative to the root of the source's repository
    pattern: str  # of the files' names
    read: Callable[[Path, str | None], Imported]

    def folder(self, given: Path) -> Path:
        """The folder of the files if `given` is it, or a folder above it as far up as the root of the repository."""
        parts = Path(self.inside).parts
        below = (given.joinpath(*parts[start:]) for start in range(len(parts)))
        return next((folder for folder in below if folder.is_dir()), given)


def value(data: Any, key: str, kind: type[T]) -> T:
    """What stands under the dotted `key`, which must be a `kind`; a whole number is a float too.

    Raises:
        ValueError: it is not there, or something else.
    """
    found = optional(data, key, kind)
    if found is None:
        raise ValueError(f"the key {key} is missing")
    return found


def optional(data: Any, key: str, kind: type[T]) -> T | None:
    """The same, or None where the key is not there or null."""
    found = data
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if found is None:
        return None
    if kind is float and isinstance(found, int) and not isinstance(found, bool):
        found = float(found)
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        raise ValueError(f"{key} must be {kind.__name__}, got {str(found)[:60]!r}")
    if isinstance(found, float) and not math.isfinite(found):
        raise ValueError(f"{key} must be a finite number, got {found}")
    return found

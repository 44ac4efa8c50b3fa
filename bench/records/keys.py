"""What a record says under a dotted key, for queries, sections and columns.

A key is a path into the record (`training.tokens_per_s`, `environment.libraries.torch`, `phases.train.seconds`) or,
where that leads nowhere, into its configuration (`method.rank`, `train.batch_size`). A metric stands for its value.
"""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from bench.records.schema import Metric, Record

MISSING: Any = object()  # there is no such key; None, in contrast: it was not measured
Scalar = str | int | float | bool | None


def value(record: Record, key: str, folder: Path | None = None) -> Any:
    """What `record` says under `key`: a text, a number, a truth value, None, or MISSING.

    `hardware` and `budget` are the names of these; a record that failed before it knew its hardware takes that from
    `folder`, in which it lies. A list gives its items as one text.
    """
    if key == "hardware":
        return _hardware(record, folder)
    if key == "budget":
        key = "config.budget.name"
    path = key.split(".")
    found = _follow(record, path)
    if found is MISSING:
        found = _follow(record.config, path)
    return found


def keys(record: Record, folder: Path | None = None) -> Iterator[str]:
    """Every key under which `record` says something, in its shortest form."""
    yield "hardware"
    yield "budget"
    yield from _leaves(record.config, "")
    own = {field.name: getattr(record, field.name) for field in fields(record) if field.name != "config"}
    yield from _leaves(own, "")


def text(value: Scalar) -> str:
    """A value as queries and titles write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


def natural(text: str) -> list[tuple[bool, int, str]]:
    """A key that sorts texts by the numbers in them: 3.9 before 3.10."""
    parts = re.findall(r"\d+|\D+", text)
    return [(False, int(part), part) if part.isdecimal() else (True, 0, part) for part in parts]


def _hardware(record: Record, folder: Path | None) -> str | None:
    if record.environment is not None:
        return record.environment.hardware
    return None if folder is None else folder.parent.name


def _follow(found: Any, path: list[str]) -> Any:
    for name in path:
        if isinstance(found, dict):
            found = found.get(name, MISSING)
        elif isinstance(found, list):  # of phases, which have names
            found = next((item for item in found if getattr(item, "name", None) == name), MISSING)
        else:
            found = getattr(found, name, MISSING) if is_dataclass(found) else MISSING
        if found is MISSING:
            return MISSING
    return _scalar(found)


def _scalar(found: Any) -> Any:
    if isinstance(found, Metric):
        return found.value
    if isinstance(found, Enum):
        return found.value
    if isinstance(found, list) and not any(is_dataclass(item) for item in found):
        return ",".join(map(str, found))
    return MISSING if isinstance(found, dict | list) or is_dataclass(found) or callable(found) else found


def _leaves(found: Any, prefix: str) -> Iterator[str]:
    if isinstance(found, list):
        found = {getattr(item, "name", ""): item for item in found if is_dataclass(item)} or ""
    if is_dataclass(found) and not isinstance(found, Metric):
        found = {each.name: getattr(found, each.name) for each in fields(found)}
    if isinstance(found, dict):
        for name, item in found.items():
            yield from _leaves(item, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted key; a group without any has none."""
    found: dict[str, Any] = {}
    for key, item in settings.items():
        found |= flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {prefix + key: item}
    return found

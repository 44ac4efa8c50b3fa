"""Write records so that a crash never leaves half of one, and read them with every value checked.

A record is replaced atomically: written to a temporary file in the same folder, flushed to the disk, renamed.
Growing files (steps.jsonl, examples.jsonl) hold one JSON object a line; a line torn by a crash is left out.
JSON knows neither NaN nor infinity, and a diverged run has both, so they are written as the strings "NaN",
"Infinity" and "-Infinity"; `float()` understands these as well as a number.
"""

import functools
import json
import math
import os
import types
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, asdict, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from bench.records.schema import SCHEMA_VERSION, Record

RECORD = "record.json"
STEPS = "steps.jsonl"
EXAMPLES = "examples.jsonl"
CHECKPOINTS = "checkpoints"  # of an unfinished training
NON_FINITE = ("NaN", "Infinity", "-Infinity")


class DamagedRecord(ValueError):
    """A file of results that cannot be used; `path` says which, `reason` why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class NewerRecord(DamagedRecord):
    """A record that a newer tunebench wrote; nothing is wrong with it."""


def run_folder(results: Path, hardware: str, run_id: str) -> Path:
    """Where the run `run_id` on `hardware` keeps its files, below the folder of all results."""
    return results / "runs" / hardware / run_id


def write(record: Record, folder: Path) -> Path:
    """Write `record` to `folder`/record.json, atomically; the folder is made if need be. Returns the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / RECORD
    replace(target, json.dumps(as_plain(record), indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    return target


def as_plain(record: Record) -> dict[str, Any]:
    """The record as dictionaries, lists and values that JSON can hold; `from_plain` is the inverse."""
    found: dict[str, Any] = plain(asdict(record))
    return found


def from_plain(data: Any) -> Record:
    """The record that `as_plain` took apart, every value checked against the type of its field.

    Raises:
        ValueError: with the key that is missing or has another type.
    """
    record: Record = _build(Record, data, "")
    return record


def replace(path: Path, text: str) -> None:
    """Write `text` to `path` so that whenever the machine stops there is the old file or the new one, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def read(path: Path) -> Record:
    """The record in the file `path`, every value checked against the type of its field.

    Keys that this version does not know are ignored; absent ones take their default where there is one.

    Raises:
        DamagedRecord: the file is not there or cannot be read, is no JSON, lacks a key, holds a wrong type, or is
            of a newer schema.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DamagedRecord(path, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # invalid JSON or invalid UTF-8
        raise DamagedRecord(path, f"is not valid JSON: {error}") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerRecord(path, f"has schema version {version}; this tunebench reads up to {SCHEMA_VERSION}")
    try:
        return from_plain(data)
    except ValueError as error:
        raise DamagedRecord(path, str(error)) from error


def scan(roots: Iterable[Path]) -> tuple[dict[Path, Record], list[DamagedRecord]]:
    """Every record below `roots` by its folder, in order of path, and what could not be read.

    A root may be a folder at any height, a run's own folder, or a record.json; none is read twice.
    """
    found: dict[Path, Record] = {}
    damaged: list[DamagedRecord] = []
    for path in sorted({path.resolve() for root in roots for path in _files(root)}):
        try:
            found[path.parent] = read(path)
        except DamagedRecord as error:
            damaged.append(error)
    return found, damaged


def load(roots: Iterable[Path]) -> tuple[list[Record], list[DamagedRecord]]:
    """Every record below `roots`, in order of path, and what could not be read; `scan` without the folders."""
    found, damaged = scan(roots)
    return list(found.values()), damaged


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append `line` to a file of JSON lines and hand it to the operating system, so that a later crash keeps it."""
    text = json.dumps(plain(line), allow_nan=False, ensure_ascii=False)
    with path.open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Replace a file of JSON lines, atomically."""
    replace(path, "".join(json.dumps(plain(line), allow_nan=False, ensure_ascii=False) + "\n" for line in lines))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All objects of a file of JSON lines. A last line without its end, which a crash leaves, is left out.

    Raises:
        DamagedRecord: a whole line is not a JSON object.
        FileNotFoundError: there is no such file.
    """
    *lines, _torn = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
        except ValueError as error:  # invalid JSON or invalid UTF-8
            raise DamagedRecord(path, f"line {number} is not valid JSON: {error}") from error
        if not isinstance(value, dict):
            raise DamagedRecord(path, f"line {number} is not a JSON object")
        found.append(value)
    return found


def plain(value: Any) -> Any:
    """`value` with NaN and infinities as strings, through all dictionaries and sequences: ready for strict JSON."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    else:
        for path in root.rglob(RECORD):  # folders with a dot hold what was moved out of the way
            if not any(part.startswith(".") for part in path.relative_to(root).parts):
                yield path


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself survive a power failure, where a folder can be opened for that (not on Windows)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value`, as JSON gives it, as a `kind`; raises ValueError with the key `where` for anything else."""
    if kind is Any:
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):  # only `X | None` occurs
        return None if value is None else _build(next(a for a in arguments if a is not type(None)), value, where)
    if origin is list and isinstance(value, list):
        return [_build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: _build(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if is_dataclass(kind) and isinstance(value, dict):
        return _build_dataclass(kind, value, where)
    if isinstance(kind, type) and issubclass(kind, Enum) and value in [member.value for member in kind]:
        return kind(value)
    if kind is float and (value in NON_FINITE or _is(value, int | float)):
        return float(value)
    if kind in (str, bool, int) and _is(value, kind):
        return value
    name = getattr(kind, "__name__", str(kind))
    raise ValueError(f"{where or 'the whole'} must be {name}, got {json.dumps(value, default=str)[:60]}")


def _build_dataclass(kind: Any, value: dict[str, Any], where: str) -> Any:
    prefix, given = f"{where}." if where else "", {}
    for field in fields(kind):
        if field.name in value:
            given[field.name] = _build(_hints(kind)[field.name], value[field.name], prefix + field.name)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"the key {prefix}{field.name} is missing")
    return kind(**given)


def _is(value: Any, kind: Any) -> bool:
    """isinstance() that does not take True for an integer."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))

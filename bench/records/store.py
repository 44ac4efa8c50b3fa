"""Write records so that a crash never leaves half of one, and read them with every value checked.

A record is replaced atomically: written to a temporary file in the same folder, flushed to the disk, renamed.
Growing files (steps.jsonl, examples.jsonl) hold one JSON object a line; a line torn by a crash is left out.
JSON knows neither NaN nor infinity, and a diverged run has both, so they are written as the strings "NaN",
"Infinity" and "-Infinity"; `float()` understands these as well as a number.
"""

import gc
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.records import cache, kept, settings
from bench.records.build import builder
from bench.records.find import RECORD, Listing, Signature, listing
from bench.records.migrations import migrate
from bench.records.schema import SCHEMA_VERSION, Record

STEPS = "steps.jsonl"
EXAMPLES = "examples.jsonl"
CHECKPOINTS = "checkpoints"  # of an unfinished training
WEIGHTS = "adapter"  # folder of what was trained, an adapter or a whole model, where the run keeps it
JSON_TYPES = {list: "list", str: "string", int: "number", float: "number", bool: "truth value", type(None): "null"}


class DamagedRecord(ValueError):
    """A file of results that cannot be used; `path` says which, `reason` why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class NewerRecord(DamagedRecord):
    """A record that a newer tunebench wrote; nothing is wrong with it."""


def has_weights(folder: Path) -> bool:
    """Whether the run in `folder` keeps what it trained."""
    return any((folder / WEIGHTS).glob("*.safetensors"))


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
    record: Record = builder(Record)(data)
    settings.check(record.config)
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
    """The record in the file `path`, brought up to date if it is older, every value checked against its field's type.

    Keys that this version does not know are ignored; absent ones take their default where there is one.

    Raises:
        DamagedRecord: the file is not there or cannot be read, is no JSON, is no record, lacks a key, holds a wrong
            type, or is of a newer schema or of an older one that nothing brings up to date.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedRecord(path, f"cannot be read: {error.strerror}") from error
    try:
        data = json.loads(content)
        if b"\\u" in content:  # half of a surrogate pair is valid JSON, and no text that could be written again
            json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # invalid JSON or invalid UTF-8
        raise DamagedRecord(path, f"is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise DamagedRecord(path, f"is no record of tunebench: a JSON {JSON_TYPES[type(data)]} instead of an object")
    if "schema_version" not in data:
        raise DamagedRecord(path, "is no record of tunebench: it has no schema_version")
    version = data["schema_version"]
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerRecord(path, f"has schema version {version}; this tunebench reads up to {SCHEMA_VERSION}")
    try:
        return from_plain(migrate(data))
    except ValueError as error:
        raise DamagedRecord(path, str(error)) from error


def scan(roots: Iterable[Path]) -> tuple[dict[Path, Record], list[DamagedRecord]]:
    """Every record below `roots` by its folder, in order of path, and what could not be read.

    A root may be a folder at any height, a run's own folder, a record.json, or a pattern (`*`, `?`, `[...]`, `**`)
    that folders and record.json files match; none is read twice. Of many records equal parts, such as the environment,
    may be one object: change none of them in place.
    """
    with without_collections():
        return read_listing(listing(roots))


def read_listing(files: Listing) -> tuple[dict[Path, Record], list[DamagedRecord]]:
    """The records that `files` lists by their folder, in order of path, and what could not be read."""
    found: dict[str, Record] = {}
    damaged = [DamagedRecord(Path(e.filename), f"cannot be read: {e.strerror}") for e in files.unreadable]
    with without_collections():
        for folder, signatures in files.files.items():
            _read_all(folder, signatures, files.time_ns, found, damaged)
        paths = _ordered(found) if len(files.files) > 1 else found  # those of one folder are in order
        return {Path(os.path.dirname(path)): found[path] for path in paths}, damaged


def load(roots: Iterable[Path]) -> tuple[list[Record], list[DamagedRecord]]:
    """Every record below `roots`, in order of path, and what could not be read; `scan` without the folders."""
    found, damaged = scan(roots)
    return list(found.values()), damaged


def _read_all(
    folder: str,
    signatures: dict[str, Signature | None],
    time_ns: int,
    found: dict[str, Record],
    damaged: list[DamagedRecord],
) -> None:
    """Read the records in files below `folder` into `found`, by way of the cache."""
    many = len(signatures) >= cache.FEW
    before = cache.load(folder) if many else {}
    fresh: cache.Entries = {}
    for path in _ordered(signatures):
        signature, known = signatures[path], before.get(path)
        if known is not None and known[0] == signature:
            found[path] = known[1]
            continue
        try:
            found[path] = read(Path(path))
        except DamagedRecord as error:
            damaged.append(error)
        else:
            if signature is not None:
                fresh[path] = signature, found[path]
    if not many:
        return
    cache.share(record for _, record in fresh.values())
    settled = {path: entry for path, entry in fresh.items() if kept.settled(entry[0], time_ns)}
    if len(settled) * cache.WORTHWHILE > len(signatures):
        others = {path: entry for path, entry in before.items() if path in found or os.path.exists(path)}
        cache.keep(folder, others | settled)


def _ordered(paths: Iterable[str]) -> list[str]:
    """As `Path` orders them, in a fraction of the time."""
    return sorted(paths, key=lambda path: path.split(os.sep))


@contextmanager
def without_collections() -> Iterator[None]:
    """Keep Python from looking for garbage among many thousands of objects that are all in use."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself survive a power failure, where a folder can be opened for that (not on Windows)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""Records that were read before, so that a table of thousands need not read and check them all again.

The cache of a folder is one file in the user's cache directory: for each record.json below the folder its signature
(size, times and inode, as git's index keeps them) and the record. A record whose file has another signature now is
read anew; records are replaced by renaming, which changes the inode, so no change goes unseen. Those of
files that are not settled (`bench.records.kept`) are not kept.

Records are kept pickled, equal parts of them once. Unpickling runs what a file says, so the directory is the user's
alone, and nothing but the classes of `bench.records.schema` is let in. A cache that is damaged, or that other code
wrote, is not used. Whatever goes wrong costs time, never a record.
"""

import hashlib
import io
import marshal
import os
import pickle
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.records import kept, schema
from bench.records.cache_dir import cache_dir
from bench.records.find import Signature

FEW = 64  # records that are not worth a cache
WORTHWHILE = 20  # reading a record takes as long as keeping so many: a cache is written where a larger share is new
SUFFIX = ".records"
BY_VALUE = 0  # the version of marshal whose bytes do not tell whether a text is interned, or used elsewhere
CLASSES = {name for name, found in vars(schema).items() if isinstance(found, type)}
Entries = dict[str, tuple[Signature, schema.Record]]  # by the path of record.json


def directory() -> Path | None:
    """Where the caches lie; None if there shall be none."""
    folder = cache_dir()
    return None if folder is None else folder / "records"


def load(root: str) -> Entries:
    """The records that were kept for the folder `root`; none if there is no cache that can be trusted."""
    folder = directory()
    if folder is None or not kept.own(folder):
        return {}
    path = folder / _name(root)
    try:
        with path.open("rb") as file:
            head, body = file.readline(), file.read()
        if head != _head(root, body):
            return {}
        os.utime(path)
        found: Entries = _Unpickler(io.BytesIO(body)).load()
    except (OSError, pickle.UnpicklingError):
        return {}
    return found


def keep(root: str, entries: Entries) -> None:
    """Keep `entries` for the folder `root`; that this cannot be done is no error."""
    folder = directory()
    if folder is None:
        return
    try:
        body = pickle.dumps(entries, protocol=pickle.HIGHEST_PROTOCOL)
    except RecursionError:  # settings nested without end
        return
    kept.write(folder / _name(root), _head(root, body) + body)


def share(records: Iterable[schema.Record]) -> None:
    """Let equal parts of records be one object: thousands of runs have few machines, models and tasks."""
    parts: dict[tuple[str, bytes], Any] = {}
    for record in records:
        for key, value in record.config.items():
            if isinstance(value, dict):
                record.config[key] = parts.setdefault(("", marshal.dumps(value, BY_VALUE)), value)
        for name in ("environment", "data", "parameters"):
            part = getattr(record, name)
            if part is not None:
                setattr(record, name, parts.setdefault((name, marshal.dumps(asdict(part), BY_VALUE)), part))


class _Unpickler(pickle.Unpickler):
    """Makes records and their parts, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module != schema.__name__ or name not in CLASSES:
            raise pickle.UnpicklingError(f"a cache of records holds no {module}.{name}")
        return super().find_class(module, name)


def _name(root: str) -> str:
    return hashlib.blake2b(os.fsencode(root), digest_size=16).hexdigest() + SUFFIX


def _head(root: str, body: bytes) -> bytes:
    """The first line of a cache: who wrote it, for which folder, and a sum that tells damage."""
    return f"{kept.code()} {_name(root)} {len(body)} {zlib.crc32(body)}\n".encode()

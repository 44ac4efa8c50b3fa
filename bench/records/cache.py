"""Records that were read before, so that a table of thousands need not read and check them all again.

The cache of a folder is one file in the user's cache directory: for each record.json below the folder its signature
(size, times and inode, as git's index keeps them) and the record. A record whose file has another signature now is
read anew; records are replaced by renaming, which changes the inode, so no change goes unseen. A file that was
changed just before it was read is not kept, because another change within the same tick of the clock would leave its
signature as it is.

Records are kept pickled, equal parts of them once. Unpickling runs what a file says, so the directory is the user's
alone, and nothing but the classes of `bench.records.schema` is let in. A cache that is damaged, or that other code
wrote, is not used. Whatever goes wrong costs time, never a record.
"""

import functools
import hashlib
import io
import marshal
import os
import pickle
import stat
import sys
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import __version__
from bench.records import schema
from bench.records.cache_dir import cache_dir
from bench.records.find import Signature, signature

FEW = 64  # records that are not worth a cache
WORTHWHILE = 20  # reading a record takes as long as keeping so many: a cache is written where a larger share is new
TICK_NS = 100_000_000  # no clock of a file system is coarser, but those of whole seconds
COARSE_TICK_NS = 2_000_000_000
UNUSED_S = 60 * 24 * 3600  # a cache that nobody has used for so long goes
SUFFIX = ".records"
PACKAGE = Path(__file__).parent
CLASSES = {name for name, found in vars(schema).items() if isinstance(found, type)}
Entries = dict[str, tuple[Signature, schema.Record]]  # by the path of record.json


def directory() -> Path | None:
    """Where the caches lie; None if there shall be none."""
    folder = cache_dir()
    return None if folder is None else folder / "records"


def settled(signature: Signature, now_ns: int) -> bool:
    """Whether a file with this signature, read at `now_ns`, would have another one after any later change."""
    changed = max(signature[1], signature[3])
    return changed < now_ns - (TICK_NS if changed % 1_000_000_000 else COARSE_TICK_NS)


def load(root: str) -> Entries:
    """The records that were kept for the folder `root`; none if there is no cache that can be trusted."""
    folder = directory()
    if folder is None or not own(folder):
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
    write(folder / _name(root), _head(root, body) + body)


def write(path: Path, content: bytes) -> None:
    """Put `content` into a folder of the cache, whole or not at all; that this cannot be done is no error."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        if not own(path.parent):
            return
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _clear(path.parent)
    except OSError:  # no room, or nothing may be written there
        pass


def share(records: Iterable[schema.Record]) -> None:
    """Let equal parts of records be one object: thousands of runs have few machines, models and tasks."""
    parts: dict[tuple[str, bytes], Any] = {}
    for record in records:
        for key, value in record.config.items():
            if isinstance(value, dict):
                record.config[key] = parts.setdefault(("", marshal.dumps(value)), value)
        for name in ("environment", "data", "parameters"):
            part = getattr(record, name)
            if part is not None:
                setattr(record, name, parts.setdefault((name, marshal.dumps(vars(part))), part))


class _Unpickler(pickle.Unpickler):
    """Makes records and their parts, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module != schema.__name__ or name not in CLASSES:
            raise pickle.UnpicklingError(f"a cache of records holds no {module}.{name}")
        return super().find_class(module, name)


def own(folder: Path) -> bool:
    """Whether `folder` is the user's, and nobody else may write there."""
    try:
        found = os.stat(folder)
    except OSError:
        return False
    if os.name != "posix":
        return True
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _name(root: str) -> str:
    return hashlib.blake2b(os.fsencode(root), digest_size=16).hexdigest() + SUFFIX


def _head(root: str, body: bytes) -> bytes:
    """The first line of a cache: who wrote it, for which folder, and a sum that tells damage."""
    return f"{code(PACKAGE)} {_name(root)} {len(body)} {zlib.crc32(body)}\n".encode()


@functools.cache
def code(*packages: Path) -> str:
    """What the meaning of a cache depends on: the versions, and in a checkout the state of these packages."""
    sources = sorted((str(path), signature(str(path))) for package in packages for path in package.rglob("*.py"))
    whole = (__version__, schema.SCHEMA_VERSION, sys.version, sources)
    return hashlib.blake2b(repr(whole).encode(), digest_size=16).hexdigest()


def _clear(folder: Path) -> None:
    """Remove what nobody has used for long, also what a killed writer left."""
    for path in folder.iterdir():
        if path.stat().st_mtime < time.time() - UNUSED_S:
            path.unlink(missing_ok=True)

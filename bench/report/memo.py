"""Remember statistics of examples between two tables, since reading the examples and resampling them takes time.

A figure is kept under a hash of everything that goes into it: the content of each examples.jsonl and the version of the
method. A file's content is known by its path, size, times and inode, so a table of runs that did not change reads no
examples at all; that of a file which was changed a moment ago is not kept, for the reason that `bench.records.kept`
gives. The memo is a convenience: whatever goes wrong with it (a read-only disk, a lock, a damaged file, a folder in
which others may write), the figures are computed anew.
"""

import hashlib
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.records import kept
from bench.records.cache_dir import cache_dir
from bench.records.find import signature

NAME = "statistics.sqlite"
LARGEST_BYTES = 2**28  # beyond this the memo starts afresh
WAIT_S = 0.5  # for another process that writes
AT_ONCE = 500  # keys in one query
Figures = tuple[float | None, float | None]  # an interval, or a p-value and nothing

TABLES = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, signature TEXT NOT NULL, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS figures (key BLOB PRIMARY KEY, first REAL, second REAL) WITHOUT ROWID;
"""


def key(*parts: object) -> bytes:
    """A hash of `parts`, whose `repr` must tell apart what differs."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


class Memo:
    """Figures by key and content hashes by file; `save` writes down what was added."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._files: dict[str, tuple[str, bytes]] = {}
        self._figures: dict[bytes, Figures] = {}

    @classmethod
    def of_user(cls) -> "Memo":
        """The memo in the user's cache folder; an empty one that is not kept if there is no such folder."""
        folder = cache_dir()
        return cls(None if folder is None else folder / NAME)

    def content(self, path: Path) -> bytes:
        """Hash of a file's content.

        Raises:
            OSError: it cannot be read.
        """
        now, state = time.time_ns(), signature(str(path))
        if state is not None:
            rows = self._query("SELECT signature, content FROM files WHERE path = ?", [str(path)])
            if rows and rows[0][0] == repr(state):
                known: bytes = rows[0][1]
                return known
        found = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
        if state is not None and kept.settled(state, now):
            self._files[str(path)] = repr(state), found
        return found

    def known(self, keys: Sequence[bytes]) -> dict[bytes, Figures]:
        """The figures of those `keys` that are known."""
        found: dict[bytes, Figures] = {}
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._query(f"SELECT key, first, second FROM figures WHERE key IN ({marks})", some)
            found |= {name: (first, second) for name, first, second in rows}
        return found

    def add(self, figures: Mapping[bytes, Figures]) -> None:
        """Keep `figures`."""
        self._figures |= figures

    def save(self) -> None:
        """Write down what was added, at once, and close the file."""
        connection = self._open() if self._files or self._figures else self._connection
        if connection is None:
            return
        with suppress(sqlite3.Error):
            with connection:
                files = ((path, *known) for path, known in self._files.items())
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", files)
                figures = ((name, *values) for name, values in self._figures.items())
                connection.executemany("INSERT OR REPLACE INTO figures VALUES (?, ?, ?)", figures)
            self._files, self._figures = {}, {}
        connection.close()
        self._connection = None

    def _query(self, statement: str, values: Iterable[object]) -> list[tuple[Any, ...]]:
        connection = self._open()
        try:
            return [] if connection is None else connection.execute(statement, tuple(values)).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return []

    def _open(self) -> sqlite3.Connection | None:
        if self._connection is None and self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
                if not kept.own(self._path.parent):
                    self._path = None
                    return None
                if self._path.exists() and self._path.stat().st_size > LARGEST_BYTES:
                    self._path.unlink()
                self._connection = sqlite3.connect(self._path, timeout=WAIT_S)
                self._connection.executescript(TABLES)
            except (OSError, sqlite3.Error) as error:
                self._give_up(error)
        return self._connection

    def _give_up(self, error: Exception) -> None:
        """Go on without; a file that is no database is removed, so that the next table has one again."""
        if self._connection is not None:
            self._connection.close()
        damaged = isinstance(error, sqlite3.DatabaseError) and type(error) is sqlite3.DatabaseError
        if damaged and self._path is not None:
            with suppress(OSError):
                self._path.unlink()
        self._path = self._connection = None

"""Remember a table as text, so that one of a hundred thousand records is there at once when it is asked for again.

It is kept under a hash of the question, of the signatures of all records and examples, and of the code that makes
tables. Only large tables are kept; small ones are made as fast.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from bench.records import kept
from bench.records.cache_dir import cache_dir
from bench.records.find import Listing, Signature, signature
from bench.records.store import EXAMPLES

MANY = 1000  # records from which on a table is remembered
SUFFIX = ".table"


class Remembered:
    """The place of one table, made by `question` from the records in `files`."""

    def __init__(self, files: Listing, question: object) -> None:
        self._path: Path | None = None
        folder, records = cache_dir(), sum(map(len, files.files.values()))
        if folder is None or records < MANY or files.unreadable:
            return
        known = list(_signatures(files))
        if all(found is None or kept.settled(found, files.time_ns) for _, found in known):
            package = Path(__file__).parent
            whole = repr((kept.code(package), question, known)).encode(errors="surrogateescape")
            name = hashlib.blake2b(whole, digest_size=16).hexdigest()
            self._path = folder / "tables" / (name + SUFFIX)

    def read(self) -> str | None:
        """The table; None if it is not known."""
        if self._path is None or not kept.own(self._path.parent):
            return None
        try:
            os.utime(self._path)
            head, _, text = self._path.read_bytes().partition(b"\n")
        except OSError:
            return None
        return text.decode() if head == _sum(text) else None

    def write(self, text: str) -> None:
        """Keep the table; that this cannot be done is no error."""
        if self._path is not None:
            body = text.encode()
            kept.write(self._path, _sum(body) + b"\n" + body)


def _signatures(files: Listing) -> Iterator[tuple[str, Signature | None]]:
    for paths in files.files.values():
        for path, found in paths.items():
            yield path, found
            examples = os.path.join(os.path.dirname(path), EXAMPLES)
            yield examples, signature(examples)


def _sum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).hexdigest().encode()

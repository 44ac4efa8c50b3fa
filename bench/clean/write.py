"""Write rows to a file, whole or not at all; the ending tells the format."""

import contextlib
import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")


def check(out: Path, force: bool) -> None:
    """Refuse a file that cannot be written.

    Raises:
        ValueError: says why.
    """
    if not out.name.endswith(ENDINGS):
        raise ValueError(f"--out must end in {', '.join(ENDINGS)}, got {out}")
    if out.exists() and not force:
        raise ValueError(f"{out} exists; --force overwrites it")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"there is no folder {out.absolute().parent} to write {out.name} to")


@contextlib.contextmanager
def writer(out: Path) -> Iterator["Writer"]:
    """Write JSON lines beside `out` and put them in its place when all are written."""
    handle, scratch = tempfile.mkstemp(dir=out.absolute().parent, prefix=f".{out.name}-")
    os.close(handle)
    try:
        with _open(Path(scratch), out.name) as file:
            yield Writer(file)
        os.chmod(scratch, 0o644)
        os.replace(scratch, out)
    finally:
        Path(scratch).unlink(missing_ok=True)


class Writer:
    """Writes rows as JSON lines."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def row(self, fields: dict[str, Any]) -> None:
        """Append one row."""
        self._file.write(json.dumps(fields, ensure_ascii=False, default=str) + "\n")


def _open(path: Path, name: str) -> contextlib.AbstractContextManager[TextIO]:
    if name.endswith(".gz"):
        return cast(TextIO, gzip.open(path, "wt", encoding="utf-8"))
    if name.endswith(".zst"):
        import zstandard

        return cast(TextIO, zstandard.open(path, "wt", encoding="utf-8"))
    return path.open("w", encoding="utf-8")

"""Rows of one file: json, jsonl, csv, tsv, parquet or txt, as they are or compressed; a bad row is named, not lost."""

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from bench.data.rows import DataError, Row
from bench.data.sources.files import ENDINGS, kind_of
from bench.data.sources.json_rows import json_document, json_lines
from bench.data.sources.tables import delimited, parquet

Rows = Iterator[Row | DataError]


def read(path: Path, name: str) -> Rows:
    """The rows of a file, one after the other.

    Args:
        path: where the file lies.
        name: what the user called it; its ending tells the format, messages begin with it.

    Yields:
        A row, or the error that says why there is none at this place.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    kind = kind_of(name)
    if kind is None:
        raise DataError(name, f"a file that ends in {ENDINGS}, also with .gz or .zst", f"{Path(name).name!r}")
    form, compression = kind
    if path.stat().st_size == 0:
        raise DataError(name, "rows", "an empty file")
    try:
        with _open(path, compression) as file:
            if form == ".parquet":
                yield from parquet(file, name, bool(compression))
            else:
                text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
                yield from _READERS[form](text, name)
    except UnicodeDecodeError as error:
        raise _not_utf8(error, path, name, compression) from error
    except (gzip.BadGzipFile, EOFError, zlib.error, _zstd_error()) as error:
        raise DataError(name, f"a whole {compression} file", f"a damaged one ({error})") from error


def _zstd_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError


def _not_utf8(error: UnicodeDecodeError, path: Path, name: str, compression: str) -> DataError:
    """Names the line of the byte, which is looked for once more: the decoder reads ahead and knows of no lines."""
    if error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return DataError(name, "text in UTF-8", "what looks like UTF-16")
    with _open(path, compression) as file:
        lines = enumerate(io.BufferedReader(cast(io.RawIOBase, file)), start=1)
        number = next(number for number, line in lines if line.decode(errors="ignore").encode() != line)
    return DataError(name, "text in UTF-8", f"the byte 0x{error.object[error.start]:02x}", line=number)


def _open(path: Path, compression: str) -> AbstractContextManager[BinaryIO]:
    if compression == ".gz":
        return cast(AbstractContextManager[BinaryIO], gzip.open(path, "rb"))
    if compression == ".zst":
        import zstandard

        return cast(AbstractContextManager[BinaryIO], zstandard.open(path, "rb"))
    return path.open("rb")


def _txt(text: TextIO, name: str) -> Rows:
    document = text.read()
    if document.strip():
        yield Row(name, 1, {"text": document})
    else:
        yield DataError(name, "a text", "white space alone", line=1)


_READERS: dict[str, Callable[[TextIO, str], Rows]] = {
    ".json": json_document,
    ".jsonl": json_lines,
    ".csv": partial(delimited, delimiter=","),
    ".tsv": partial(delimited, delimiter="\t"),
    ".txt": _txt,
}

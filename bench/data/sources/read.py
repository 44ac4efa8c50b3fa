"""Rows of one file: json, jsonl, csv, tsv, parquet or txt, as they are or compressed; a bad row is named, not lost."""

import csv
import gzip
import io
import json
import unicodedata
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, cast

from bench.data.rows import DataError, Row
from bench.data.sources.files import ENDINGS, kind_of

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
                yield from _parquet(file, name, bool(compression))
            else:
                text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
                yield from _READERS[form](text, name)
    except UnicodeDecodeError as error:
        raise DataError(name, "text in UTF-8", f"the byte 0x{error.object[error.start]:02x}") from error
    except (gzip.BadGzipFile, EOFError, _zstd_error()) as error:
        raise DataError(name, f"a whole {compression} file", f"a damaged one ({error})") from error


def _zstd_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError


def _open(path: Path, compression: str) -> AbstractContextManager[BinaryIO]:
    if compression == ".gz":
        return cast(AbstractContextManager[BinaryIO], gzip.open(path, "rb"))
    if compression == ".zst":
        import zstandard

        return cast(AbstractContextManager[BinaryIO], zstandard.open(path, "rb"))
    return path.open("rb")


def _jsonl(text: io.TextIOWrapper, name: str) -> Rows:
    for number, line in enumerate(map(str.rstrip, text), start=1):
        if not line:
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            yield _not_json(name, number, line, error)
            continue
        yield _object(value, name, number)


def _json(text: io.TextIOWrapper, name: str) -> Rows:
    whole = text.read()
    try:
        value = json.loads(whole)
    except json.JSONDecodeError as error:
        lines = whole.splitlines() or [""]
        raise _not_json(name, error.lineno, lines[min(error.lineno, len(lines)) - 1], error) from error
    if isinstance(value, dict):
        lists = [key for key, inner in value.items() if isinstance(inner, list)]
        if len(lists) != 1:
            raise DataError(name, "a list of rows, or an object with one list of rows", f"an object with {len(lists)}")
        value = value[lists[0]]
    if not isinstance(value, list):
        raise DataError(name, "a list of rows", _type(value))
    for number, row in enumerate(value, start=1):
        yield _object(row, name, number)


def _object(value: Any, name: str, number: int) -> Row | DataError:
    if isinstance(value, dict):
        return Row(name, number, value)
    return DataError(name, "an object with fields", _type(value), line=number)


def _not_json(name: str, number: int, line: str, error: json.JSONDecodeError) -> DataError:
    """Names the sign at which reading stopped; that of an input method, such as a full-width comma, by its name."""
    column = error.colno
    sign = line[column - 1 : column].strip()
    if sign and not sign.isascii():
        what = f"a {unicodedata.name(sign, 'strange sign').lower()} {sign!r} at column {column}"
    elif sign:
        what = f"{sign!r} at column {column} ({error.msg})"
    else:
        what = f"the end of the line at column {column} ({error.msg})"
    return DataError(name, "JSON", what, line=number)


def _type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", int: "a number"}
    return "null" if value is None else names.get(type(value), "a number")


def _table(delimiter: str, text: io.TextIOWrapper, name: str) -> Rows:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    header = next(reader, None)
    if not header or not any(header):
        raise DataError(name, "a header with the names of the columns", "an empty line", line=1)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield DataError(name, "cells in quotes or without", str(error), line=reader.line_num)
            continue
        if cells is None:
            return
        if len(cells) == len(header):
            yield Row(name, reader.line_num, dict(zip(header, cells, strict=True)))
        elif cells:
            yield DataError(name, f"{len(header)} cells", f"{len(cells)}", line=reader.line_num)


def _csv(text: io.TextIOWrapper, name: str) -> Rows:
    return _table(",", text, name)


def _tsv(text: io.TextIOWrapper, name: str) -> Rows:
    return _table("\t", text, name)


def _txt(text: io.TextIOWrapper, name: str) -> Rows:
    document = text.read()
    if document.strip():
        yield Row(name, 1, {"text": document})
    else:
        yield DataError(name, "a text", "white space alone", line=1)


def _parquet(file: BinaryIO, name: str, compressed: bool) -> Rows:
    import pyarrow
    import pyarrow.parquet

    seekable = io.BytesIO(file.read()) if compressed else file
    try:
        table = pyarrow.parquet.ParquetFile(seekable)
        number = 0
        for batch in table.iter_batches(batch_size=1000):
            for fields in batch.to_pylist():
                number += 1
                yield Row(name, number, fields)
    except pyarrow.ArrowInvalid as error:
        raise DataError(name, "a parquet file", str(error).splitlines()[0]) from error


_READERS = {".json": _json, ".jsonl": _jsonl, ".csv": _csv, ".tsv": _tsv, ".txt": _txt}

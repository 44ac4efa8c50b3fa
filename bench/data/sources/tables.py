"""Rows of tables: CSV, TSV and Parquet."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import BinaryIO, TextIO

from bench.data.rows import DataError, Row

_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons"}
_QUOTED = re.compile(r'"[^"]*"')


def delimited(text: TextIO, name: str, delimiter: str) -> Iterator[Row | DataError]:
    """The rows below the header, whose line is that on which they end."""
    csv.field_size_limit(2**31 - 1)
    first = text.readline()
    _check_delimiter(first, name, delimiter)
    reader = csv.reader(chain([first], text), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            wrong = DataError(name, "cells in quotes or without", str(error), line=reader.line_num)
            if not header:
                raise wrong from error
            yield wrong
            continue
        if not header:
            header = _header(cells or [], name)
        elif cells is None:
            return
        elif len(cells) == len(header):
            yield Row(name, reader.line_num, dict(zip(header, cells, strict=True)))
        elif cells:
            yield DataError(name, f"{len(header)} cells", f"{len(cells)}", line=reader.line_num)


def parquet(file: BinaryIO, name: str, compressed: bool) -> Iterator[Row]:
    """The rows of a Parquet file, read in batches."""
    import pyarrow
    import pyarrow.parquet

    seekable = io.BytesIO(file.read()) if compressed else file
    number = 0
    try:
        table = pyarrow.parquet.ParquetFile(seekable)
        _check_names(table.schema_arrow.names, name)
        for batch in table.iter_batches(batch_size=1000):
            for fields in batch.to_pylist():
                number += 1
                yield Row(name, number, fields)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:  # damaged pages or values
        raise DataError(name, "a parquet file", str(error).partition("\n")[0]) from error


def _header(cells: list[str], name: str) -> list[str]:
    if not any(cells):
        raise DataError(name, "a header with the names of the columns", "an empty line", line=1)
    _check_names(cells, name, line=1)
    return cells


def _check_names(names: Sequence[str], name: str, line: int | None = None) -> None:
    """Refuse two columns of one name, as a row could hold one of them alone; nobody asks for those without a name."""
    for column, count in Counter(filter(None, names)).most_common(1):
        if count > 1:
            raise DataError(name, "columns of different names", f"{column!r} {count} times", line=line)


def _check_delimiter(header: str, name: str, delimiter: str) -> None:
    """Refuse a header without the delimiter, but with another one outside of quotes."""
    bare = _QUOTED.sub("", header)
    if delimiter in bare or '"' in bare:
        return
    for other, what in _DELIMITERS.items():
        if other in bare:
            expected = f"columns parted by {_DELIMITERS[delimiter]}"
            raise DataError(name, expected, f"what seem to be columns parted by {what}", line=1)

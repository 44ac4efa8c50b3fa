"""Rows of JSON and of JSON lines."""

import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any, TextIO

from bench.data.rows import DataError, Row

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def json_lines(text: TextIO, name: str) -> Iterator[Row | DataError]:
    """A row for each line that is not blank."""
    first = True
    for number, line in enumerate(map(str.rstrip, text), start=1):
        if not line:
            continue
        hint = _of_several_lines(line) if first else ""
        first = False
        try:
            value = _loads(line, name, number, hint)
        except DataError as error:
            yield error
            continue
        yield _row(value, name, number, bool(_SURROGATE.search(line)), hint)


def json_document(text: TextIO, name: str) -> Iterator[Row | DataError]:
    """The rows of a list, or of an object with one list."""
    whole = text.read()
    value = _loads(whole, name)
    if isinstance(value, dict):
        lists = [key for key, inner in value.items() if isinstance(inner, list)]
        if len(lists) != 1:
            raise DataError(name, "a list of rows, or an object with one list of rows", f"an object with {len(lists)}")
        value = value[lists[0]]
    if not isinstance(value, list):
        raise DataError(name, "a list of rows", _type(value))
    doubtful = bool(_SURROGATE.search(whole))
    for number, row in enumerate(value, start=1):
        yield _row(row, name, number, doubtful)


def _loads(text: str, name: str, line: int | None = None, hint: str = "") -> Any:
    """The value of a line, or without one of a whole file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        found = f"{_sign(error)}{_of_lines(error) if line is None else hint}"
        raise DataError(name, "JSON", found, line=line or error.lineno) from error
    except ValueError as error:  # Python reads no longer ones
        digits = sys.get_int_max_str_digits()
        raise DataError(name, f"numbers of at most {digits} digits", "a longer one", line=line) from error
    except RecursionError as error:
        raise DataError(name, "JSON", "lists or objects nested too deep", line=line) from error


def _row(value: Any, name: str, number: int, doubtful: bool, hint: str = "") -> Row | DataError:
    """A value as a row; `doubtful` if it may hold half a surrogate pair, which is no text that could be written."""
    if not isinstance(value, dict):
        return DataError(name, "an object with fields", f"{_type(value)}{hint}", line=number)
    if doubtful:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):x}"
            return DataError(name, "whole characters", f"half a surrogate pair, {half}", line=number)
    return Row(name, number, value)


def _sign(error: json.JSONDecodeError) -> str:
    """The sign at which reading stopped; that of an input method, such as a full-width comma, by its name."""
    column = error.colno
    sign = error.doc.split("\n")[error.lineno - 1][column - 1 : column].strip()
    if sign and not sign.isascii():
        return f"a {unicodedata.name(sign, 'strange sign').lower()} {sign!r} at column {column}"
    if sign:
        return f"{sign!r} at column {column} ({error.msg})"
    return f"the end of the line at column {column} ({error.msg})"


def _of_several_lines(first: str) -> str:
    """The hint that the first line gives to a file of JSON lines that is none."""
    if first.startswith("["):
        return "; this looks like a JSON array: rename the file to .json"
    if first == "{":
        return "; this looks like JSON over several lines: .jsonl needs every object on a line of its own"
    return ""


def _of_lines(error: json.JSONDecodeError) -> str:
    """The hint to JSON lines that are called JSON: what stands before the error is an object on a line of its own."""
    before = error.doc[: error.pos].strip()
    if error.msg == "Extra data" and before.startswith("{") and "\n" not in before:
        return "; this looks like JSON lines: rename the file to .jsonl"
    return ""


def _type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", int: "a number"}
    return "null" if value is None else names.get(type(value), "a number")

"""Reading the fields of a row: what is checked of every format, and how a wrong value is shown."""

import json
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from bench.data.example import Message
from bench.data.rows import Row
from bench.method import did_you_mean

_SHOWN = 60  # characters of a wrong value


def key(row: Row, answer: int = 0) -> str:
    """The id of a row's example: name of the file, line and, of a conversation with several, which answer from 1."""
    return f"{PurePath(row.file).name}:{row.line}" + (f"#{answer}" if answer else "")


def text(row: Row, field: str) -> str:
    """The text in a field that must be there and not be blank.

    Raises:
        DataError: it is missing, blank or no text.
    """
    return nested_text(row, field, present(row, field, "a text"))


def nested_text(row: Row, path: str, value: Any) -> str:
    """A value somewhere in a row, which must be a text that is not blank; `path` says where, as in `messages[0]`."""
    if not isinstance(value, str) or not value.strip():
        raise row.error("a text", shown(value), path)
    return value


def optional_text(row: Row, field: str) -> str:
    """The text in a field that may be missing, null or empty: an empty text then."""
    value = row.fields.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise row.error("a text or nothing", shown(value), field)
    return value if value.strip() else ""


def present(row: Row, field: str, expected: str) -> Any:
    """The value of a field that must be there; a missing one is an error that offers fields of a like name."""
    if field not in row.fields:
        raise row.error(expected, f"no such field{did_you_mean(field, row.fields)}", field)
    return row.fields[field]


def found(row: Row, field: str) -> str:
    """What a row has in a field, for a message."""
    return shown(row.fields[field]) if field in row.fields else "no such field"


def system(row: Row) -> tuple[Message, ...]:
    """The row's field `system` as a message, where it is not empty."""
    content = optional_text(row, "system")
    return (Message("system", content),) if content else ()


def shown(value: Any) -> str:
    """A wrong value in words, its beginning alone where it is long."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"the text {short(value)}" if value.strip() else "an empty text"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    kind = "list" if isinstance(value, list) else "object" if isinstance(value, dict) else type(value).__name__
    if isinstance(value, list | dict) and not value:
        return f"an empty {kind}"
    return f"the {kind} {_cut(json.dumps(value, ensure_ascii=False, default=str))}"


def short(value: str) -> str:
    """A text in quotes, its beginning alone where it is long."""
    return repr(_cut(value))


def _cut(value: str) -> str:
    return value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "..."


def listed(names: Iterable[str]) -> str:
    """Names of fields for a message."""
    return ", ".join(names) or "no fields"

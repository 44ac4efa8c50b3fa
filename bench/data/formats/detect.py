"""Which format a row has, told by its fields; where it has none, what comes nearest."""

import difflib
from collections.abc import Mapping
from typing import Any

from bench.data.formats.conversations import is_transcript
from bench.data.formats.fields import listed
from bench.data.rows import DataError, Row

# The fields that a row of each format must have. The order decides where several formats fit: UltraFeedback's
# preference pairs have `messages` too, and Alpaca's own file has a `text` made of the other fields.
FIELDS: dict[str, tuple[str, ...]] = {
    "preference": ("chosen", "rejected"),
    "sharegpt": ("conversations",),
    "messages": ("messages",),
    "alpaca": ("instruction", "output"),
    "prompt_completion": ("prompt", "completion"),
    "classification": ("text", "label"),
    "transcript": ("text",),
    "text": ("text",),
}
# The kind of task that a format's data is, where the user names none.
KIND = {
    "preference": "preference",
    "sharegpt": "generation",
    "messages": "generation",
    "alpaca": "generation",
    "prompt_completion": "generation",
    "classification": "classification",
    "transcript": "generation",
    "text": "text",
}


def detect(fields: Mapping[str, Any]) -> str | None:
    """The format of a row with these fields, one of `bench.config.task.FORMATS`; None if it has none of them."""
    for format, needed in FIELDS.items():
        if all(field in fields for field in needed) and (format != "transcript" or is_transcript(fields["text"])):
            return format
    return None


def unknown(row: Row) -> DataError:
    """The error about a row without any format: all formats with their fields, and the nearest one."""
    formats = "; ".join(f"{format}: {listed(needed)}" for format, needed in FIELDS.items() if format != "transcript")
    return row.error(f"the fields of a format ({formats})", listed(row.fields) + _hint(row.fields))


def other(row: Row, format: str) -> DataError | None:
    """The error about a row that has not the fields of `format` but those of another one."""
    if all(field in row.fields for field in FIELDS[format]) or (found := detect(row.fields)) is None:
        return None
    return row.error(f"the format {format} ({listed(FIELDS[format])})", f"the format {found} ({listed(row.fields)})")


def _hint(fields: Mapping[str, Any]) -> str:
    known = {field for needed in FIELDS.values() for field in needed}
    free = [name for name in fields if name not in known]
    partial = ""
    for format, needed in FIELDS.items():
        missing = [field for field in needed if field not in fields]
        near = {field: difflib.get_close_matches(field, free, n=1, cutoff=0.75) for field in missing}
        if all(near.values()):
            pairs = " and ".join(f"{field!r} in place of {names[0]!r}" for field, names in near.items())
            return f"; did you mean {pairs} ({format})?"
        if len(missing) < len(needed) and not partial:
            partial = f"; the format {format} needs {listed(missing)} too"
    return partial or "; other fields can be read with task.prompt and task.completion"

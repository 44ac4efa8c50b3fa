"""Labels of a classification: those of validation and test must be among the task's."""

import re
from collections.abc import Iterable, Sequence

from bench.data.example import Example
from bench.data.formats.fields import short
from bench.data.rows import DataError
from bench.method import did_you_mean

_PLACE = re.compile(r"(?P<file>.*):(?P<line>\d+)(?:#\d+)?", re.DOTALL)  # of an example's id
_LISTED = 20  # labels in a message


def label_error(example: Example, choices: Sequence[str]) -> DataError | None:
    """The error about an example whose label is none of `choices`, which are completions; None if it is one."""
    if example.completion in choices:
        return None
    place = _PLACE.fullmatch(example.id)
    file, line = (place["file"], int(place["line"])) if place else (example.id, None)
    label, known = example.completion.strip(), [choice.strip() for choice in choices]
    more = f" and {len(known) - _LISTED} others" if len(known) > _LISTED else ""
    hint = did_you_mean(label, known)
    found = short(label) + (hint if "did you mean" in hint else "")
    return DataError(file, f"one of {', '.join(known[:_LISTED])}{more}", found, line=line, field="label")


def check_labels(examples: Iterable[Example], choices: Sequence[str]) -> None:
    """Check that every completion is one of `choices`.

    Raises:
        DataError: one is not.
    """
    for example in examples:
        if (error := label_error(example, choices)) is not None:
            raise error

"""Long documents parted at their paragraphs, so that splits can be taken from few of them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from bench.data.example import Example

CHARACTERS = 2000  # of a passage at most, unless a single paragraph is longer
_ENOUGH = 40  # passages to take splits from
_PARAGRAPH = re.compile(r".+?(?:\n\s*\n|\Z)|\s+", re.DOTALL)
_LINE = re.compile(r".+?(?:\n|\Z)|\s+", re.DOTALL)


def passages(examples: Iterable[Example]) -> Iterator[Example]:
    """The documents in passages of whole paragraphs, or of lines where there are none; joined they are the same."""
    documents = list(examples)
    characters = min(CHARACTERS, sum(len(e.completion) for e in documents) // _ENOUGH)
    for example in documents:
        parts = list(_passages(example.completion, characters))
        for number, part in enumerate(parts, start=1):
            name = example.id if len(parts) == 1 else f"{example.id}@{number}"
            yield replace(example, id=name, completion=part)


def _passages(text: str, characters: int) -> Iterator[str]:
    pattern = _PARAGRAPH if re.search(r"\S\s*\n\s*\n\s*\S", text) else _LINE
    passage = ""
    for part in pattern.findall(text):
        if passage.strip() and len(passage) + len(part) > characters:
            yield passage
            passage = ""
        passage += part
    if passage.strip():
        yield passage

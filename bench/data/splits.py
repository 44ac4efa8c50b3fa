"""Splits by hash: the same question always lands in the same split, and stays there when rows are added."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from bench.data.example import Example
from bench.data.spool import FEW, spool

NAMES = ("train", "validation", "test")
_BUCKETS = 2**64


def key(example: Example) -> str:
    """What decides an example's split: its question, or the text of an example without one.

    All answers of a conversation follow its first question, so they never part.
    """
    if isinstance(example.prompt, str):
        return example.prompt or example.completion
    start = takewhile(lambda message: message.role != "assistant", example.prompt)
    return "\n".join(f"{message.role}: {message.content}" for message in start)


def split_of(text: str, validation_share: float, test_share: float, seed: int = 0) -> str:
    """`train`, `validation` or `test` for a key; a larger share keeps what a smaller one had."""
    place = _place(text, seed)
    if place < test_share:
        return "test"
    return "validation" if place >= 1 - validation_share else "train"


def split(
    examples: Sequence[Example], validation_share: float, test_share: float, seed: int = 0
) -> dict[str, Sequence[Example]]:
    """The examples of each split, in their order."""
    if not validation_share and not test_share:
        return {"train": examples, "validation": (), "test": ()}
    if len(examples) > FEW:  # in passes, since the keys of all would take as much memory as the examples
        parts = {name: spool(_part(examples, name, validation_share, test_share, seed)) for name in NAMES}
        if all(parts[name] or not share for name, share in (("validation", validation_share), ("test", test_share))):
            return parts
    keys = [key(example) for example in examples]
    where = splits_of(keys, validation_share, test_share, seed)
    found: dict[str, list[Example]] = {name: [] for name in NAMES}
    for example, text in zip(examples, keys, strict=True):
        found[where[text]].append(example)
    return {name: spool(part) for name, part in found.items()}


def _part(
    examples: Iterable[Example], name: str, validation_share: float, test_share: float, seed: int
) -> Iterator[Example]:
    return (e for e in examples if split_of(key(e), validation_share, test_share, seed) == name)


def splits_of(keys: Iterable[str], validation_share: float, test_share: float, seed: int = 0) -> dict[str, str]:
    """The split of every key.

    Where so few leave a split empty that is to have a share, it takes the key that lies nearest.
    """
    where = {text: split_of(text, validation_share, test_share, seed) for text in keys}
    ordered = sorted(where, key=lambda text: _place(text, seed))
    if len(ordered) > 2:
        if test_share and "test" not in where.values():
            where[ordered[0]] = "test"
        if validation_share and "validation" not in where.values():
            where[ordered[-1]] = "validation"
    return where


def _place(text: str, seed: int) -> float:
    """Where a key lies between 0 and 1."""
    digest = hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _BUCKETS

"""Long documents cut into pieces that a model takes, by the tokenizer's offsets, so that no character changes."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from bench.data.example import Example

_BATCH = 256  # documents tokenised at once: offsets take a hundred bytes a token
_ENDS = 2  # the begin and the end token, which `bench.data.tokens` adds


def chunk(examples: Sequence[Example], tokenizer: Any, max_length: int, stride: int = 0) -> Iterable[Example]:
    """Cut the completions of plain-text examples into pieces with room for the begin and the end token.

    Each piece is a substring of its document and never ends inside a character. Without a stride the pieces joined
    are the document. A document that is short enough stays as it is; pieces are called `id#1`, `id#2` and so on.

    Args:
        examples: of a task of kind `text`.
        tokenizer: a fast one, which knows where in the text its tokens lie.
        max_length: tokens of a piece with its begin and end token.
        stride: tokens that a piece has in common with the one before it.

    Raises:
        ValueError: the stride is as long as a piece, or the tokenizer gives no offsets.
    """
    size = max_length - _ENDS
    if stride >= size:
        raise ValueError(f"data.stride must be < {size}, which is task.max_length - {_ENDS}, got {stride}")
    if not tokenizer.is_fast:
        raise ValueError(
            f"model.tokenizer: documents are cut by a fast tokenizer's offsets, and {type(tokenizer).__name__} is slow"
        )
    return _chunks(examples, tokenizer, size, stride)


def _chunks(examples: Sequence[Example], tokenizer: Any, size: int, stride: int) -> Iterator[Example]:
    for begin in range(0, len(examples), _BATCH):
        batch = examples[begin : begin + _BATCH]
        for example, offsets in zip(batch, _offsets([e.completion for e in batch], tokenizer), strict=True):
            if len(offsets) <= size:
                yield example
                continue
            pieces = _pieces(example.completion, offsets, tokenizer, size, stride)
            for number, piece in enumerate(pieces, start=1):
                yield replace(example, id=f"{example.id}#{number}", completion=piece)


def _offsets(texts: list[str], tokenizer: Any) -> list[list[tuple[int, int]]]:
    tokens = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return tokens["offset_mapping"]


def _pieces(text: str, offsets: list[tuple[int, int]], tokenizer: Any, size: int, stride: int) -> list[str]:
    """The pieces; one alone can have more tokens than it had inside the document, and then all are cut shorter."""
    places = _places(offsets, len(text))
    for limit in range(size, stride, -1):
        pieces = [text[begin:end] for begin, end in _cut(places, limit, stride)]
        if all(len(ids) <= size for ids in tokenizer(pieces, add_special_tokens=False, verbose=False)["input_ids"]):
            return pieces
    raise ValueError(f"task.max_length: {size + _ENDS} is too short to cut documents with data.stride={stride}")


def _places(offsets: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """Where a document can be cut: token and character; several tokens of one character are a single place."""
    places = [(0, 0)]
    for token, (begin, _) in enumerate(offsets):
        if begin > places[-1][1]:
            places.append((token, begin))
    return [*places, (len(offsets), length)]


def _cut(places: list[tuple[int, int]], limit: int, stride: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each piece in the text: at most `limit` tokens, the first `stride` those of the one before."""
    tokens = [token for token, _ in places]
    start = stop = 0
    while stop < len(places) - 1:
        stop = max(bisect_right(tokens, tokens[start] + limit) - 1, start + 1)
        yield places[start][1], places[stop][1]
        start = max(bisect_left(tokens, tokens[stop] - stride), start + 1)

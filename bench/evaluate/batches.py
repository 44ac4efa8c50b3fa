"""Which rows go through the model together."""

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], size: int, one_length: bool = False) -> Iterator[list[int]]:
    """Indices of `lengths` in batches of `size` at most.

    The longest come first, so that a batch too large for memory fails early.

    Args:
        lengths: of the rows, in tokens.
        size: rows at once.
        one_length: keep rows of different lengths apart, so that no prompt is padded.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batch and (len(batch) == size or (one_length and lengths[i] != lengths[batch[0]])):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch

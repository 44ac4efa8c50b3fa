"""In which order the rows come: drawn by the seed, and those of one batch about as long as each other.

Padding is computed like everything else and thrown away. Up to half of a batch that was drawn at random is padding
where lengths differ as those of answers do; rows that were sorted before they were cut into batches have next to none.
What a batch is still depends on the draw, as only rows that were drawn for fifty batches together are sorted, fewer
where there are not twice as many, and the batches themselves come in a drawn order.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

TOGETHER = 50  # batches, whose rows are sorted
PARTS = 2  # at least, each sorted by itself; else batches of few rows would be the same ones every time
EPOCH_BITS = 16  # of the generator's seed: no epoch of one seed is one of another's
SORTED = 1 << 16  # rows at once, a part at least, which takes some twenty bytes for each
READ = 1000  # places that are handed out from one list


class Grouped(Sampler[int]):
    """The places of all rows, batch by batch; another order in every epoch, and for every seed.

    Args:
        lengths: of the rows, tokens.
        batch_size: rows of an optimizer step, so that it has the same rows however many are computed at once.
        seed: of the run.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int) -> None:
        lengths = np.asarray(lengths)
        self._longest = int(lengths.max(initial=0))
        self._shorter = (self._longest - lengths).astype(np.min_scalar_type(self._longest))  # than the longest row
        self._batch_size, self._seed = batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is that of `epoch`, wherever a training goes on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._shorter)

    def __iter__(self) -> Iterator[int]:
        for part in np.array_split(self.order(), len(self) // READ + 1):  # all numbers of Python's at once take 40 MB
            yield from part.tolist()

    def order(self) -> np.ndarray:
        """The places in the order of this epoch, [rows]; the rows that fill no batch come last."""
        drawn = torch.Generator().manual_seed((self._seed << EPOCH_BITS) + self.epoch)
        rows = torch.randperm(len(self), generator=drawn, dtype=torch.int32).numpy()
        size = self._batch_size
        count = len(self) // size
        together = size * max(1, min(TOGETHER, count // PARTS))
        sorted_ = count * size // together * together
        self._sort(rows[:sorted_].reshape(-1, together))
        self._sort(rows[sorted_ : count * size].reshape(1, -1))
        batches = rows[: count * size].reshape(count, size)
        chosen = torch.randperm(count, generator=drawn).numpy()
        if count and self.epoch == 0:  # what does not fit shall show at once
            longest = self._shorter[batches[chosen, 0]].argmin()
            chosen[[0, longest]] = chosen[[longest, 0]]
        batches[:] = batches[chosen]
        return rows

    def _sort(self, parts: np.ndarray) -> None:
        """Put the longest rows of every part first, in place; [parts, rows]."""
        for some in np.array_split(parts, parts.size // SORTED + 1):
            some[:] = np.take_along_axis(some, self._shorter[some].argsort(axis=1, kind="stable"), axis=1)

    def longest(self, micro_batch_size: int) -> np.ndarray:
        """The length of the longest row of every micro batch of this epoch, tokens."""
        begins = np.arange(0, len(self), micro_batch_size)
        return self._longest - np.minimum.reduceat(self._shorter[self.order()], begins).astype(np.int64)

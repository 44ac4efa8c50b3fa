"""In which order the rows come: drawn by the seed, and those of one batch about as long as each other.

Padding is computed like everything else and thrown away. Up to half of a batch that was drawn at random is padding
where lengths differ as those of answers do; rows that were sorted before they were cut into batches have next to none.
What a batch is still depends on the draw, as only rows that were drawn for fifty batches together are sorted, fewer
where there are not twice as many, and the batches themselves come in a drawn order.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

TOGETHER = 50  # batches, whose rows are sorted
PARTS = 2  # at least, each sorted by itself; else batches of few rows would be the same ones every time
EPOCH_BITS = 16  # of the generator's seed: no epoch of one seed is one of another's
READ = 1000  # places that are handed out from one list


class Grouped(Sampler[int]):
    """The places of all rows, batch by batch; another order in every epoch, and for every seed.

    Args:
        lengths: of the rows, tokens.
        batch_size: rows of an optimizer step, so that it has the same rows however many are computed at once.
        seed: of the run.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int) -> None:
        self._lengths = torch.tensor(lengths, dtype=torch.int32)
        self._batch_size, self._seed = batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is that of `epoch`, wherever a training goes on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        for part in self.order().split(READ):  # not all at once: a million numbers of Python's take 40 MB
            yield from part.tolist()

    def order(self) -> Tensor:
        """The places in the order of this epoch, [rows]; the rows that fill no batch come last."""
        drawn = torch.Generator().manual_seed((self._seed << EPOCH_BITS) + self.epoch)
        size = self._batch_size
        rows = torch.randperm(len(self), generator=drawn, dtype=torch.int32)
        count = len(self) // size
        together = max(1, min(TOGETHER, count // PARTS))
        for part in rows[: count * size].split(size * together):  # in place: a list may have millions of rows
            part.copy_(part[self._lengths[part].argsort(descending=True, stable=True)])
        batches = rows[: count * size].view(count, size)
        chosen = torch.randperm(count, generator=drawn)
        if count and self.epoch == 0:  # what does not fit shall show at once
            longest = int(self._lengths[batches[chosen, 0]].argmax())
            chosen[[0, longest]] = chosen[[longest, 0]]
        return torch.cat((batches[chosen].flatten(), rows[count * size :]))

    def longest(self, micro_batch_size: int) -> list[int]:
        """The longest row of every micro batch of this epoch, tokens."""
        ordered = self._lengths[self.order()]
        whole = len(ordered) // micro_batch_size * micro_batch_size
        rest = ordered[whole:]
        return ordered[:whole].view(-1, micro_batch_size).amax(1).tolist() + ([int(rest.max())] if len(rest) else [])

"""Which rows go through the model together, and how many: as many as asked for, or as memory has room for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from accelerate.utils.memory import clear_device_cache

from bench.measure.memory import is_out_of_memory

Report = Callable[[int, int], None]  # examples done, examples in all


@dataclass
class Room:
    """How many rows go through the model at once.

    Where memory runs out, half as many tokens are tried, padding included; shorter rows may then go in larger batches
    again, up to `rows`. What was learned holds for all that shares the room.

    Attributes:
        rows: at most.
        recovers: whether memory may run out; False where several processes share a model and must keep in step.
        tokens: of a batch at most, padding included; None as long as memory has not run out.
        history: how often it did, in words, for the record.
    """

    rows: int = 128
    recovers: bool = True
    tokens: int | None = None
    history: list[str] = field(default_factory=list)

    def at_once(self, length: int) -> int:
        """Rows of this many tokens each; one at least."""
        return self.rows if self.tokens is None else max(1, min(self.rows, self.tokens // length))

    def suffices(self, work: Callable[[], None], rows: int, length: int) -> bool:
        """Do the work; where memory runs out, leave less room for the next try and return False.

        Args:
            work: can be begun again.
            rows: that it takes at once.
            length: of the longest of them, in tokens.

        Raises:
            MemoryError: a single row does not fit.
        """
        try:
            work()
            return True
        except (RuntimeError, MemoryError) as error:
            if not (self.recovers and is_out_of_memory(error)):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
        clear_device_cache(garbage_collection=True)  # only here: the traceback has held the tensors until now
        if rows <= 1:
            raise MemoryError(f"a single row of {length} tokens does not fit: {reason}")
        self.tokens = rows * length // 2
        self.history.append(f"out of memory with {rows} rows of up to {length} tokens at once, halved: {reason}")
        return False


def in_batches(
    lengths: Sequence[int], room: Room, work: Callable[[list[int]], None], each: int = 1, one_length: bool = False
) -> None:
    """Give `work` the indices of `lengths` in batches for which there is room.

    The longest come first, so that a batch holds little padding, and one that is too large for memory fails early; it
    then comes again in smaller ones.

    Args:
        lengths: of the rows, in tokens.
        room: for how many rows at once.
        work: takes the indices of a batch; may be given some of them once more.
        each: rows that an index stands for.
        one_length: keep rows of different lengths apart, so that none is padded.
    """
    rest = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    while rest:
        longest = lengths[rest[0]]
        batch = rest[: max(1, room.at_once(longest) // each)]
        if one_length:
            batch = [i for i in batch if lengths[i] == longest]
        if room.suffices(partial(work, batch), len(batch) * each, longest):
            rest = rest[len(batch) :]

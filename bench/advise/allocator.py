"""The caching allocator of torch's CUDA back end, as a model: what is allocated and what is reserved.

It follows c10/cuda/CUDACachingAllocator.cpp with its default settings and one stream. Blocks are multiples of 512
bytes. Small ones (up to 1 MiB) come from segments of 2 MiB; larger ones from segments of 20 MiB, or, from 10 MiB on, of
their own size in steps of 2 MiB. The smallest free block that is large enough is taken, and split if enough of it is
left over; free neighbours are joined; segments go back to the device only when the cache is emptied.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable

BLOCK, SMALL, SMALL_SEGMENT, LARGE_SEGMENT, OWN_SEGMENT, STEP = 512, 2**20, 2 * 2**20, 20 * 2**20, 10 * 2**20, 2 * 2**20
CUBLAS_WORKSPACE = 8519680  # bytes that torch keeps for cuBLAS from the first product on (32 MiB on Hopper)


class Block:
    """A part of a segment, between its neighbours."""

    __slots__ = ("before", "behind", "free", "number", "size", "small")

    def __init__(self, number: int, size: int, small: bool) -> None:
        self.number, self.size, self.small = number, size, small
        self.free = False
        self.before: Block | None = None
        self.behind: Block | None = None


class CachingAllocator:
    """Allocates and frees; sizes in bytes.

    Attributes:
        allocated: bytes in blocks that are in use.
        reserved: bytes in segments.
        peak_allocated: the highest since `reset_peaks`.
        peak_reserved: likewise.
    """

    def __init__(self) -> None:
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0
        self._free: dict[bool, list[tuple[int, int, Block]]] = {True: [], False: []}  # by whether small; in order
        self._count = 0

    def allocate(self, size: int) -> Block:
        """A block of at least `size` bytes."""
        size = max(BLOCK, -(-size // BLOCK) * BLOCK)
        small = size <= SMALL
        pool = self._free[small]
        place = bisect_left(pool, (size,))
        block = pool.pop(place)[2] if place < len(pool) else self._segment(size, small)
        rest = block.size - size
        if rest >= BLOCK if small else rest > SMALL:
            self._split(block, size)
        block.free = False
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block

    def free(self, block: Block) -> None:
        """Give a block back to the cache, joined with its free neighbours."""
        self.allocated -= block.size
        if block.before is not None and block.before.free:
            self._take(block.before)
            block = self._join(block.before, block)
        if block.behind is not None and block.behind.free:
            self._take(block.behind)
            block = self._join(block, block.behind)
        block.free = True
        insort(self._free[block.small], (block.size, block.number, block))

    def empty_cache(self) -> None:
        """Give segments without any block in use back to the device."""
        for pool in self._free.values():
            for _, _, block in list(pool):
                if block.before is None and block.behind is None:
                    self._take(block)
                    self.reserved -= block.size

    def reset_peaks(self) -> None:
        """Begin the peaks anew at what is in use."""
        self.peak_allocated, self.peak_reserved = self.allocated, self.reserved

    def _segment(self, size: int, small: bool) -> Block:
        whole = SMALL_SEGMENT if small else LARGE_SEGMENT if size < OWN_SEGMENT else -(-size // STEP) * STEP
        self.reserved += whole
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return self._block(whole, small)

    def _block(self, size: int, small: bool) -> Block:
        self._count += 1
        return Block(self._count, size, small)

    def _split(self, block: Block, size: int) -> None:
        rest = self._block(block.size - size, block.small)
        rest.before, rest.behind, rest.free = block, block.behind, True
        if block.behind is not None:
            block.behind.before = rest
        block.behind, block.size = rest, size
        insort(self._free[rest.small], (rest.size, rest.number, rest))

    def _take(self, block: Block) -> None:
        pool = self._free[block.small]
        del pool[bisect_left(pool, (block.size, block.number))]

    def _join(self, block: Block, behind: Block) -> Block:
        block.size += behind.size
        block.behind = behind.behind
        if behind.behind is not None:
            behind.behind.before = block
        return block


RESET = 0  # among the events: the peaks begin anew
EMPTY = -(2**62)  # among the events: the cache is emptied


def replay(events: Iterable[int], sizes: dict[int, int]) -> CachingAllocator:
    """The allocator after `events`.

    Args:
        events: n allocates the n-th tensor, -n frees it, RESET begins the peaks anew, EMPTY empties the cache.
        sizes: of each tensor by its number, bytes.
    """
    allocator, held = CachingAllocator(), dict[int, Block]()
    for event in events:
        if event > 0:
            held[event] = allocator.allocate(sizes[event])
        elif event == EMPTY:
            allocator.empty_cache()
        elif event < 0:
            allocator.free(held.pop(-event))
        else:
            allocator.reset_peaks()
    return allocator

"""Batches by length, for which there is room."""

import pytest
import torch

from bench.evaluate.batches import Room, in_batches

LENGTHS = [3, 9, 5, 5, 8, 1, 5]


def taken(room: Room, fits: int = 10**6, **settings: object) -> list[list[int]]:
    """The batches that were done, of which none has more than so many tokens."""
    found: list[list[int]] = []

    def work(batch: list[int]) -> None:
        if len(batch) * max(LENGTHS[i] for i in batch) > fits:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.\nmore")
        found.append(batch)

    in_batches(LENGTHS, room, work, **settings)  # type: ignore[arg-type]
    return found


def test_the_longest_come_first():
    assert taken(Room(3)) == [[1, 4, 2], [3, 6, 0], [5]]
    assert taken(Room(3), one_length=True) == [[1], [4], [2, 3, 6], [0], [5]]
    assert taken(Room(6), each=3) == [[1, 4], [2, 3], [6, 0], [5]]
    assert taken(Room(2), each=3) == [[1], [4], [2], [3], [6], [0], [5]]


def test_out_of_memory_halves_the_tokens_and_short_rows_go_in_larger_batches_again():
    room = Room(4)
    assert taken(room, fits=20) == [[1, 4], [2, 3, 6], [0, 5]]
    assert room.tokens == 18
    said = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."
    assert room.history == [f"out of memory with 4 rows of up to 9 tokens at once, halved: {said}"]


def test_a_row_that_does_not_fit_is_the_end():
    with pytest.raises(MemoryError, match="a single row of 9 tokens does not fit: DefaultCPUAllocator: can't"):
        taken(Room(4), fits=8)


def test_other_errors_and_those_of_several_processes_are_not_caught():
    def fail(_: list[int]) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        in_batches(LENGTHS, Room(4), fail)

    def run_out(_: list[int]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        in_batches(LENGTHS, Room(4, recovers=False), run_out)

"""The order of the rows: every row once an epoch, by the seed, in batches of about one length."""

import itertools
import random

import pytest
import torch

from bench.data.tokens import PadRight
from bench.train.order import EPOCH_BITS, PARTS, TOGETHER, Grouped
from methods.dpo import Dpo
from methods.lora import Lora

LENGTHS = [random.Random(i).choice(range(10, 300)) for i in range(1003)]


def batches(sampler: Grouped, size: int = 8) -> list[list[int]]:
    places = list(sampler)
    return [places[i : i + size] for i in range(0, len(places), size)]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1003])
def test_every_row_comes_once(count: int):
    assert sorted(Grouped(LENGTHS[:count], 8, 0)) == list(range(count))
    assert len(Grouped(LENGTHS[:count], 8, 0)) == count


def test_the_seed_and_the_epoch_decide_and_nothing_else():
    first, other, later = Grouped(LENGTHS, 8, 0), Grouped(LENGTHS, 8, 1), Grouped(LENGTHS, 8, 0)
    later.set_epoch(1)
    assert list(first) == list(first) == list(Grouped(LENGTHS, 8, 0))
    found = [{frozenset(batch) for batch in batches(each)} for each in (first, other, later)]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]


def plainly(lengths: list[int], size: int, seed: int, epoch: int) -> list[int]:
    """The same order by lists of Python's, one row after the other."""
    drawn = torch.Generator().manual_seed((seed << EPOCH_BITS) + epoch)
    rows = torch.randperm(len(lengths), generator=drawn).tolist()
    count = len(lengths) // size
    together = size * max(1, min(TOGETHER, count // PARTS))
    parts = (rows[begin : min(begin + together, count * size)] for begin in range(0, count * size, together))
    ordered = [row for part in parts for row in sorted(part, key=lambda row: -lengths[row])]
    whole = [ordered[begin : begin + size] for begin in range(0, count * size, size)]
    chosen = torch.randperm(count, generator=drawn).tolist()
    if count and epoch == 0:
        longest = max(range(count), key=lambda place: lengths[whole[chosen[place]][0]])
        chosen[0], chosen[longest] = chosen[longest], chosen[0]
    return [row for batch in chosen for row in whole[batch]] + rows[count * size :]


@pytest.mark.parametrize("size", [1, 3, 16, 400, 2_000])
@pytest.mark.parametrize("count", [1, 2, 17, 1_003, 70_001])
@pytest.mark.parametrize("epoch", [0, 2])
def test_the_order_is_that_of_plain_lists(count: int, size: int, epoch: int):
    for most in (1, 200, 60_000, 80_000):  # lengths of 8, 16 and 32 bits
        lengths = [(place * place * 37) % most + 1 for place in range(count)]
        sampler = Grouped(lengths, size, seed=3)
        sampler.set_epoch(epoch)
        assert list(sampler) == plainly(lengths, size, 3, epoch)


def test_batches_of_few_rows_are_drawn_too():
    drawn = {frozenset(map(frozenset, batches(Grouped(LENGTHS[:24], 8, seed)))) for seed in range(8)}
    assert len(drawn) > 6


def test_little_is_padding_and_the_lengths_come_in_no_order():
    longest = [max(LENGTHS[i] for i in batch) for batch in batches(Grouped(LENGTHS, 8, 0))[:-1]]
    padded = sum(longest) * 8 / sum(sum(LENGTHS[i] for i in batch) for batch in batches(Grouped(LENGTHS, 8, 0))[:-1])
    assert padded < 1.03
    assert longest[0] == max(longest)
    rising = sum(b > a for a, b in itertools.pairwise(longest)) / len(longest)
    assert 0.35 < rising < 0.65


def test_the_longest_of_micro_batches():
    sampler = Grouped([5, 1, 4, 2], 4, 0)
    assert sampler.longest(4).tolist() == [5]
    assert sampler.longest(2).tolist() == [5, 2]
    assert sampler.longest(3).tolist() == [5, 1]


@pytest.mark.parametrize("method", [Lora(), Dpo()], ids=lambda m: m.name)
def test_training_has_less_padding_and_the_same_tokens(method, fit, monkeypatch):
    widths = {True: 0, False: 0}
    collate = PadRight.__call__

    def watched(self, rows):
        batch = collate(self, rows)
        widths[grouped] += batch["input_ids"].numel()
        return batch

    monkeypatch.setattr(PadRight, "__call__", watched)
    tokens = {}
    for grouped in (True, False):
        tokens[grouped] = fit(method, steps=6, group_by_length=grouped).training.tokens
    assert tokens[True] == tokens[False]
    assert widths[True] < widths[False] or method.objective != "sft"


def test_an_epoch_is_every_row_once_and_the_next_one_is_another(fit, monkeypatch):
    seen = []
    collate = PadRight.__call__
    monkeypatch.setattr(PadRight, "__call__", lambda self, rows: seen.append(rows) or collate(self, rows))
    fit(Lora(), steps=12)
    texts = [tuple(row["input_ids"]) for batch in seen for row in batch]
    assert len(set(texts[:24])) == len(set(texts[24:48])) == 24
    assert texts[:24] != texts[24:48]

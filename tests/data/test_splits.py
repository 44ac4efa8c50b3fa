"""Splits by hash: shares, stability, and what belongs together."""

from bench.data.example import Example, Message
from bench.data.splits import key, split, split_of


def examples(count: int) -> list[Example]:
    return [Example(str(i), f"question {i}", " answer") for i in range(count)]


def test_shares_are_about_right_and_nothing_is_lost():
    parts = split(examples(4000), 0.1, 0.2)
    assert sum(map(len, parts.values())) == 4000
    assert abs(len(parts["validation"]) - 400) < 60
    assert abs(len(parts["test"]) - 800) < 80
    assert [e.id for e in parts["train"]] == sorted((e.id for e in parts["train"]), key=int)


def test_rows_that_are_added_move_nobody():
    few, many = split(examples(500), 0.1, 0.1), split(examples(1000), 0.1, 0.1)
    for name, part in few.items():
        assert part == many[name][: len(part)]


def test_a_larger_share_keeps_what_a_smaller_one_had():
    small, large = split(examples(1000), 0.1, 0.1), split(examples(1000), 0.2, 0.3)
    assert set(small["test"]) < set(large["test"])
    assert set(small["validation"]) < set(large["validation"])


def test_the_seed_makes_other_splits():
    assert split(examples(100), 0.1, 0.1) != split(examples(100), 0.1, 0.1, seed=1)
    assert {split_of("x", 0.3, 0.3, seed) for seed in range(30)} == {"train", "validation", "test"}


def test_the_same_question_and_a_conversation_stay_together():
    twice = [Example("a", "q", " one"), Example("b", "q", " two")]
    assert key(twice[0]) == key(twice[1])
    start = (Message("system", "s"), Message("user", "q"))
    first = Example("c#1", start, "one")
    second = Example("c#2", (*start, Message("assistant", "one"), Message("user", "more")), "two")
    assert key(first) == key(second)
    assert key(Example("d", "", "a document")) == "a document"


def test_every_split_that_has_a_share_gets_something():
    for count in range(3, 12):
        parts = split(examples(count), 0.01, 0.01)
        assert (len(parts["validation"]), len(parts["test"])) == (1, 1)
    assert [len(part) for part in split(examples(5), 0.0, 0.0).values()] == [5, 0, 0]

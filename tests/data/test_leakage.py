"""Which training examples contain what another split asks."""

from bench.data.example import Example, Message
from bench.data.leakage import Overlap, leaked, runs

WORDS = [f"word{i}" for i in range(200)]


def text(start: int, count: int) -> str:
    return " ".join(WORDS[start : start + count])


def example(words: str, answer: str = " yes") -> Example:
    return Example(words, words, answer)


def test_a_shared_run_of_13_words_counts_and_one_of_12_does_not():
    held_out = [example(text(0, 30))]
    assert leaked([example("other " + text(5, 13) + " more")], held_out) == 1
    assert leaked([example("other " + text(5, 12) + " more")], held_out) == 0


def test_each_training_example_counts_once_and_case_does_not_matter():
    held_out = [example(text(0, 30)), example(text(10, 30))]
    assert leaked([example(text(0, 40).upper()), example(text(100, 40)), example(text(12, 20))], held_out) == 2


def test_short_texts_are_compared_whole():
    held_out = [example("2 + 2 =", " 4")]
    assert leaked([example("2 + 2 =", " 4")], held_out) == 1
    assert leaked([example("2 + 3 =", " 5")], held_out) == 0


def test_the_wording_that_many_examples_share_does_not_count():
    fixed = text(100, 20)
    train = [example(f"{fixed} {i} {i + 1}") for i in range(500)]
    assert leaked(train, [example(f"{fixed} something else")]) == 0
    assert leaked(train[:3], [example(f"{fixed} something else")]) == 3
    assert leaked(train[:3], [example(f"{fixed} something else")], instruction=fixed) == 0


def test_scripts_that_part_no_words():
    sentence = "東京都は日本の首都であり、世界でも最大級の都市圏を形成している大都市で、"
    sentence += "政治、経済、文化の中心地として知られている。"
    held_out = [example("質問 " + sentence * 2)]
    assert leaked([example("前置き" + sentence * 2)], held_out) == 1
    assert leaked([example("まったく関係のない別の文章をここに書いておく。" * 4)], held_out) == 0


def test_conversations_are_compared_by_what_is_said():
    turns = (Message("system", "s"), Message("user", text(0, 20)))
    assert leaked([Example("a", turns, "x")], [example(text(2, 15))]) == 1


def test_the_runs_of_a_text():
    assert len(list(runs(text(0, 20)))) == 8
    assert len(list(runs("short"))) == 1
    assert len(list(runs(""))) == 1


def test_examples_that_share_the_same_are_named_each():
    found = Overlap([example(text(0, 30))])
    for number, words in enumerate((text(5, 13), text(40, 20), text(5, 13), text(0, 20))):
        found.add(Example(str(number), words, ""))
    assert sorted(found.names()) == ["0", "2", "3"]
    assert found.count() == 3

"""Duplicates, repetition and personal data: what is found, and what only looks like it."""

import pytest

from bench.clean import personal
from bench.clean.duplicates import Exact, Near, normalised, shingles
from bench.clean.repetition import repeats

STORY = "the old man took his boat out to the sea before the sun was up and came back late with a single fish"


def test_exact_duplicates_up_to_case_white_space_and_width():
    exact = Exact()
    assert exact.add("1", "Ｈｅｌｌｏ  World") is None
    assert exact.add("2", "hello world\n") == "1"
    assert exact.add("3", "hello, world") is None
    assert exact.add("4", "HELLO WORLD") == "1"
    assert normalised("ﬁne  Straße") == "fine strasse"


def test_near_duplicates_name_the_nearest_and_leave_the_rest():
    near = Near(0.7)
    assert near.add("1", f"{STORY} and nothing else to eat") is None
    assert near.add("2", f"{STORY} and nothing else to drink") == "1"
    assert near.add("3", "quite another story about a city in the north where it never stops raining") is None
    words = STORY.split()
    assert near.add("4", " ".join(words[::-1])) is None  # the same words in another order


def test_near_duplicates_are_confirmed_by_the_true_similarity():
    """Many pairs just below the threshold: MinHash alone would take some of them for duplicates."""
    for n in range(60):
        near = Near(0.8)
        base = [f"w{n}x{i}" for i in range(60)]
        changed = [*base[:26], "other", *base[27:]]  # 5 of 56 shingles differ: 51 / 61 = 0.836
        more = [*base[:20], "other", *base[21:40], "more", *base[41:]]  # 46 / 66 = 0.697
        near.add("1", " ".join(base))
        assert near.add("2", " ".join(more)) is None
        assert near.add("3", " ".join(changed)) in ("1", None)


def test_shingles_of_scripts_without_spaces_are_characters():
    assert len(shingles("東京は日本の首都であり、とても大きな都市です。" * 2)) > 20
    assert shingles("short text") == [b"short text"]
    assert len(shingles(STORY)) == len(STORY.split()) - 4


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (STORY, None),
        ("again and again " * 20, "runs of 2 words"),
        ("\n".join(["one line of some words here"] * 3 + [STORY, STORY[::-1]] * 2), "lines"),
        ("no " * 10, None),
        (STORY + " " + STORY.upper(), None),
    ],
)
def test_repetition(text: str, what: str | None):
    assert repeats(text) == what


def test_the_quick_look_never_hides_a_repetition():
    """A text of few words, in which a run of three makes up just more, or just less, than its share."""
    filler = [f"word{i:03d}" for i in range(40)]
    for count, found in ((3, None), (6, "runs of 2 words")):
        words = [w for i in range(40) for w in ([filler[i], "aaaa", "bbbb"] if i < count else [filler[i]])]
        share = count * 8 / sum(map(len, words))
        assert (share > 0.20) == (count > 9)
        assert repeats(" ".join(words)) in (None, found)
    words = [w for i in range(40) for w in ([filler[i], "aaaa", "bbbb"] if i < 12 else [filler[i]])]
    assert repeats(" ".join(words)) == "runs of 2 words"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to jane.doe+news@mail.example.co.uk today", "email"),
        ("手紙はtaro@example.jpまで", "email"),
        ("call +49 30 1234567 now", "phone"),
        ("call (212) 555-0198", "phone"),
        ("call 212-555-0198", "phone"),
        ("Tel. 030/1234 5678", "phone"),
        ("card 4111 1111 1111 1111 please", "card"),
        ("card 5500-0000-0000-0004", "card"),
        ("IBAN DE89 3704 0044 0532 0130 00", "iban"),
        ("key AKIAIOSFODNN7EXAMPLE", "key"),
        ("token ghp_abcdefghijklmnopqrstuvwxyz0123456789", "key"),
        ("hf_abcdefghijklmnopqrstuvwxyzABCDEFGH", "key"),
        ("sk-abcdefghijklmnopqrstuvwx", "key"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "key"),
    ],
)
def test_personal_data_is_found_and_masked(text: str, kind: str):
    masked, found = personal.mask(text)
    assert found == {kind: 1}
    assert f"<{kind.upper()}>" in masked
    assert personal.find(text) == {kind: 1}
    assert personal.mask(masked) == (masked, {})


@pytest.mark.parametrize(
    "text",
    [
        "at 3 @ 5 o'clock",
        "the year 2024-2025, pages 100-200",
        "version 1.2.3.4 of 10.0.0.1",
        "4111 1111 1111 1112",  # fails the check digit
        "0000 0000 0000 0000",
        "DE89 3704 0044 0532 0130 01",  # fails the check digits
        "pi is 3.14159265358979",
        "the number 123456789012",
        "skiing in the risk-free zone",
        "def f(x): return x@y",
        "2024-01-15 12:30:45",
        "AKIA is a prefix",
    ],
)
def test_what_only_looks_like_personal_data(text: str):
    assert personal.mask(text) == (text, {})


def test_texts_inside_lists_and_objects_are_masked():
    row = {"messages": [{"role": "user", "content": "I am a@b.org"}], "n": 3, "more": ["x@y.com", None]}
    masked, found = personal.mask_fields(row)
    assert masked == {"messages": [{"role": "user", "content": "I am <EMAIL>"}], "n": 3, "more": ["<EMAIL>", None]}
    assert found == personal.find(row) == {"email": 2}

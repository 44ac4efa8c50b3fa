"""Chunks: pieces are substrings that fit and, without overlap, make up the document again."""

import itertools

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from bench.data.chunks import chunk
from bench.data.example import Example

TEXTS = {
    "English": "Open the file and read its lines one by one. Return the number of words in the text.\n\n" * 5,
    "Japanese": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 4,
    "Chinese": "学而时习之，不亦说乎？有朋自远方来，不亦乐乎？" * 4,
    "Korean": "나랏말싸미 듕귁에 달아 문자와로 서르 사맛디 아니할쎄. " * 4,
    "Arabic": "اقرأ كتابًا كل يوم، ثم اكتب ما فهمت منه. " * 4,
    "emoji": "👨\u200d👩\u200d👧\u200d👦🏴󠁧󠁢󠁳󠁣󠁴󠁿👩🏽\u200d🚀" * 8,
    "decomposed": "cafe\u0301 e\u0301te\u0301 が\u00a0ﬁ " * 12,
    "white space": "a" + " \n\t\u3000" * 40 + "b",
}


@pytest.fixture(scope="module")
def byte_level(tiny_llama: str):
    return AutoTokenizer.from_pretrained(tiny_llama)


@pytest.fixture(scope="module")
def sentencepiece_like():
    """One that normalises, marks the beginning of every text and falls back to bytes, as Llama 2's does."""
    alphabet = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghijklmnopqrstuvwxyz."]
    vocabulary = {token: place for place, token in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.decoder = decoders.ByteFallback()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


@pytest.fixture(params=["byte_level", "sentencepiece_like"])
def tokenizer(request: pytest.FixtureRequest):
    return request.getfixturevalue(request.param)


def cut(text: str, tokenizer, max_length: int, stride: int = 0) -> list[Example]:
    return list(chunk([Example("doc", "", text)], tokenizer, max_length, stride))


def tokens(text: str, tokenizer) -> int:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("max_length", [8, 21, 40])
def test_pieces_fit_and_make_up_the_document(language: str, max_length: int, tokenizer):
    text = TEXTS[language]
    pieces = cut(text, tokenizer, max_length)
    assert "".join(piece.completion for piece in pieces) == text
    assert all(0 < tokens(piece.completion, tokenizer) <= max_length - 2 for piece in pieces)
    assert [piece.id for piece in pieces] == [f"doc#{k}" for k in range(1, len(pieces) + 1)]
    assert len(pieces) > 1


def test_pieces_are_as_long_as_they_may_be(byte_level):
    pieces = cut("word " * 200, byte_level, 22)
    lengths = [tokens(piece.completion, byte_level) for piece in pieces]
    assert min(lengths[:-1]) >= 19  # of 20, where a token more would cut inside a merged one


@pytest.mark.parametrize("word", ["word", "猫", "안녕", "كتاب", "👩🏽\u200d🚀", "e\u0301"])
@pytest.mark.parametrize("stride", [1, 6, 12])
def test_a_piece_begins_with_the_end_of_the_one_before(word: str, stride: int, tokenizer):
    text = " ".join(f"{word}{number}" for number in range(1000, 1060))  # every piece is in one place of it
    pieces = [piece.completion for piece in cut(text, tokenizer, 40, stride)]
    assert all(tokens(piece, tokenizer) <= 38 for piece in pieces)
    places = [(text.index(piece), text.index(piece) + len(piece)) for piece in pieces]
    assert (places[0][0], places[-1][1]) == (0, len(text))
    for (_, end), (begin, _) in itertools.pairwise(places):
        assert begin <= end
        assert tokens(text[begin:end], tokenizer) <= stride + 1  # one more where a text's beginning is marked
    assert len(pieces) > 1
    if stride > 4:  # a whole character at least
        assert all(begin < end for (_, end), (begin, _) in itertools.pairwise(places))


def test_a_document_that_fits_stays_as_it_is(byte_level):
    short = Example("a", "", "word")
    fits = "word " * (18 // tokens("word ", byte_level))
    assert list(chunk([short, Example("b", "", fits)], byte_level, 20)) == [short, Example("b", "", fits)]
    assert [piece.id for piece in chunk([short, Example("b", "", fits * 2)], byte_level, 20)][:2] == ["a", "b#1"]


def test_documents_keep_their_order_over_many_batches(byte_level):
    documents = [Example(str(number), "", "word " * (number % 3 * 20 + 1)) for number in range(600)]
    pieces = list(chunk(documents, byte_level, 30))
    assert list(dict.fromkeys(piece.id.split("#")[0] for piece in pieces)) == [e.id for e in documents]
    assert "".join(piece.completion for piece in pieces) == "".join(e.completion for e in documents)


def test_a_stride_as_long_as_a_piece_is_refused(byte_level):
    with pytest.raises(ValueError, match=r"^(data|task|model)\.") as raised:
        cut("word", byte_level, 20, stride=18)
    assert str(raised.value) == "data.stride must be < 18, which is task.max_length - 2, got 18"


def test_a_length_at_which_no_piece_fits_is_refused(sentencepiece_like):
    with pytest.raises(ValueError, match=r"^(data|task|model)\.") as raised:
        cut("word " * 20, sentencepiece_like, 8, stride=5)
    assert str(raised.value) == "task.max_length: 8 is too short to cut documents with data.stride=5"


def test_a_tokenizer_without_offsets_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match=r"^(data|task|model)\.") as raised:
        cut("word", Slow(), 20)
    assert str(raised.value) == ("model.tokenizer: documents are cut by a fast tokenizer's offsets, and Slow is slow")

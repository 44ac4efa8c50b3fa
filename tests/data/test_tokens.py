"""Tokens: where a prompt ends, what is cut, which tokens carry loss, and how rows become a batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets
from transformers import AutoTokenizer

from bench.data.example import Example
from bench.data.tokens import COUNTED, IGNORED, PadRight, Tokens, labelled, pad, preference_row, tokenise, training_row

END = 0  # the tiny tokenizer's begin and end token


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: str):
    return AutoTokenizer.from_pretrained(tiny_llama)


def one(tokenizer, prompt: str, completion: str, rejected: str | None = None, max_length: int = 100) -> Tokens:
    (tokens,) = tokenise([Example("1", prompt, completion, rejected)], tokenizer, max_length)
    return tokens


def test_prompt_and_completion_meet_where_the_texts_do(tokenizer):
    tokens = one(tokenizer, "Which module does this docstring belong to?", " json", " random")
    assert tokens.prompt[0] == END
    assert tokenizer.decode(tokens.prompt[1:]) == "Which module does this docstring belong to?"
    assert tokens.completion[-1] == tokens.rejected[-1] == END
    assert tokenizer.decode(tokens.completion[:-1]) == " json"
    assert tokenizer.decode(tokens.rejected[:-1]) == " random"


def test_the_prompt_is_the_same_whatever_the_completion(tokenizer):
    assert one(tokenizer, "to", "rn").prompt == one(tokenizer, "to", " x").prompt


def test_a_long_prompt_loses_its_beginning(tokenizer):
    prompt = tokenizer("Open the file and read its lines one by one.", add_special_tokens=False)["input_ids"]
    text = "Open the file and read its lines one by one."
    whole = one(tokenizer, text, " json", " random")
    longest = max(len(whole.completion), len(whole.rejected))
    cut = one(tokenizer, text, " json", " random", max_length=longest + 4)
    assert cut.prompt == prompt[-4:]
    assert (cut.completion, cut.rejected) == (whole.completion, whole.rejected)
    assert one(tokenizer, text, " json", max_length=len(whole.completion) + 4).prompt == prompt[-4:]


@pytest.mark.parametrize("max_length", [8, 12, 30])
def test_no_row_is_longer_than_allowed(tokenizer, max_length: int):
    tokens = one(tokenizer, "Return the number of words", " in the text " * 9, " z" * 40, max_length=max_length)
    assert len(tokens.prompt) == 1
    assert len(tokens.completion) == len(tokens.rejected) == max_length - 1
    assert len(training_row(tokens)["input_ids"]) == max_length


def test_a_text_without_a_prompt_begins_with_the_begin_token(tokenizer):
    tokens = one(tokenizer, "", "Return the number of words in the text.")
    assert tokens.prompt == [END]
    assert tokenizer.decode(tokens.completion[:-1]) == "Return the number of words in the text."
    assert tokens.rejected is None


def test_a_tokenizer_without_a_begin_token_begins_with_its_end(tokenizer, tiny_gpt2: str):
    other = AutoTokenizer.from_pretrained(tiny_gpt2)
    other.bos_token, other.eos_token = None, "<|pad|>"
    assert one(other, "", "json").prompt == [other.pad_token_id]
    assert one(other, "", "json").completion[-1] == other.pad_token_id


def test_wrong_answers_stay_with_their_examples(tokenizer):
    examples = [Example("1", "a", " b"), Example("2", "c", " d", " e"), Example("3", "f", " g", " h")]
    rejected = [t.rejected and tokenizer.decode(t.rejected[:-1]) for t in tokenise(examples, tokenizer, 50)]
    assert rejected == [None, " e", " h"]


def test_no_examples_no_tokens(tokenizer):
    assert tokenise([], tokenizer, 50) == []


def test_labels_stand_on_the_completion_alone():
    row = training_row(Tokens([5, 6, 7], [8, 0]))
    assert row == {"input_ids": [5, 6, 7, 8, 0], "labels": [IGNORED] * 3 + [8, 0]}


def test_a_pair_has_the_columns_of_the_preference_trainer():
    row = preference_row(Tokens([5, 6], [7, 0], [8, 9, 0]))
    assert row == {"prompt_ids": [5, 6], "chosen_ids": [7, 0], "rejected_ids": [8, 9, 0]}


def test_rows_are_padded_on_the_right_without_attention_and_without_loss():
    batch = PadRight(1)([{"input_ids": [5, 6, 0], "labels": [IGNORED, 6, 0]}, {"input_ids": [1], "labels": [1]}])
    assert batch.keys() == {"input_ids", "attention_mask", "labels"}
    assert batch["input_ids"].tolist() == [[5, 6, 0], [1, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 0], [1, IGNORED, IGNORED]]


def test_pad_fills_with_the_value():
    assert torch.equal(pad([[1, 2], [3]], 9), torch.tensor([[1, 2], [3, 9]]))


@pytest.fixture
def rows() -> Dataset:
    """Row i has i % 5 labelled tokens."""
    return Dataset.from_list([{"labels": [IGNORED] * (9 - i % 5) + [1] * (i % 5)} for i in range(20_000)])


@pytest.mark.parametrize("places", [range(3, 4_001), [7, 3, 19_999, 4]])
def test_labelled_tokens_are_counted(rows: Dataset, places: Sequence[int]):
    part = rows.select(places)
    assert labelled(part) == sum(place % 5 for place in places) / len(places)
    assert labelled(part.select([2, 0])) == (places[2] % 5 + places[0] % 5) / 2


@pytest.mark.parametrize("count", [COUNTED, COUNTED + 1])
def test_labelled_tokens_are_those_of_all_rows_or_of_rows_from_everywhere(count: int):
    rows = Dataset.from_list([{"labels": [1] * (i // 1000)} for i in range(count)])
    assert labelled(rows) == pytest.approx(np.mean(np.arange(count) // 1000), rel=0 if count == COUNTED else 0.01)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="tells which pages of a file are in memory")
def test_a_count_leaves_few_pages_of_a_large_file_in_memory(tmp_path: Path):
    def pages() -> int:
        maps = Path("/proc/self/smaps").read_text().split(kept.data.path)[1:]
        return sum(int(part.split("Rss:")[1].split()[0]) for part in maps)

    labels = np.ones((200_000, 50), dtype=np.int32)
    Dataset.from_dict({"labels": labels}).save_to_disk(tmp_path / "rows")
    [path] = (tmp_path / "rows").glob("*.arrow")
    kept = Dataset.from_file(str(path))
    before = pages()
    assert labelled(kept) == 50
    assert pages() - before < 5_000  # KiB, of what all of them take
    assert sum(map(len, kept["labels"])) == 10_000_000
    assert pages() - before > 20_000  # which shows that the pages are seen


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_labelled_tokens_of_many_rows_in_any_order_and_in_any_pieces(order: str):
    counts = np.random.default_rng(0).exponential(20, 50_000).astype(int)  # few of the longest hold many of the labels
    if order == "sorted":
        counts.sort()
    whole = Dataset.from_list([{"labels": [IGNORED] + [1] * int(n)} for n in counts])
    pieces = concatenate_datasets([whole.select(range(0, 3_333)), whole.select(range(3_333, len(whole)))])
    assert labelled(whole) == labelled(pieces) == pytest.approx(counts.mean(), rel=0.05)

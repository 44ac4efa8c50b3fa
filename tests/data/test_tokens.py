"""Tokens: where a prompt ends, what is cut, which tokens carry loss, and how rows become a batch."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer

from bench.data.example import Example
from bench.data.tokens import IGNORED, PadRight, Tokens, labelled, pad, preference_row, tokenise, training_row

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
def kept(tmp_path: Path) -> Dataset:
    """Rows that are a file, of which row i has i % 5 labelled tokens."""
    rows = [{"input_ids": [1] * 50, "labels": [IGNORED] * (50 - i % 5) + [1] * (i % 5)} for i in range(20_000)]
    Dataset.from_list(rows).save_to_disk(tmp_path / "rows")
    [path] = (tmp_path / "rows").glob("*.arrow")
    return Dataset.from_file(str(path))


@pytest.mark.parametrize("change", ["none", "slice", "order", "column", "memory", "both"])
def test_labelled_tokens_are_counted_in_any_rows(kept: Dataset, change: str):
    changes = {
        "none": lambda: kept,
        "slice": lambda: kept.select(range(3, 8_001)),
        "order": lambda: kept.select([7, 3, 19_999, 4]),
        "column": lambda: kept.add_column("more", [0.5] * len(kept)),
        "memory": lambda: Dataset.from_dict(kept[:100]),
        "both": lambda: kept.select(range(10)).select([9, 1]),
    }
    rows = changes[change]()
    assert labelled(rows) == sum(label != IGNORED for row in rows["labels"] for label in row) / len(rows)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="tells which pages of a file are in memory")
def test_a_count_leaves_no_pages_of_the_file_in_memory(kept: Dataset):
    def pages() -> int:
        maps = Path("/proc/self/smaps").read_text().split(kept.data.path)[1:]
        return sum(int(part.split("Rss:")[1].split()[0]) for part in maps)

    before = pages()
    assert labelled(kept) == 2
    assert pages() - before < 100  # KiB, of several thousand
    assert sum(map(len, kept["labels"])) == 1_000_000
    assert pages() - before > 1_000  # which shows that the pages are seen

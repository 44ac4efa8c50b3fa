"""The loss on general text against one computed by hand."""

import pytest
import torch

from bench.evaluate.batches import Room
from bench.evaluate.forgetting import general_loss
from methods.prefix import Prefix

TEXT = "Open the file and read its lines one by one. Return the number of words in the text.\n" * 60


@torch.no_grad()
def by_hand(model, windows: list[list[int]]) -> float:
    losses = [float(model(input_ids=torch.tensor([w]), labels=torch.tensor([w])).loss) for w in windows]
    return sum(losses) / len(losses)


def cut(tokenizer) -> list[list[int]]:
    ids = tokenizer(TEXT)["input_ids"]
    windows = [ids[i : i + 256] for i in range(0, len(ids), 256)]
    assert len(windows) > 6
    return windows[:-1]  # the last is not whole


def test_it_is_the_mean_loss_over_whole_windows(adapted):
    model, tokenizer = adapted("llama", None)
    expected = by_hand(model, cut(tokenizer))
    assert general_loss(model, tokenizer, TEXT, 10**6, Room(3)) == pytest.approx(expected, abs=1e-5)
    assert general_loss(model, tokenizer, TEXT, 10**6, Room(100)) == pytest.approx(expected, abs=1e-5)


def test_fewer_tokens_are_taken_from_everywhere(adapted):
    model, tokenizer = adapted("llama", None)
    windows = cut(tokenizer)
    count = len(windows) // 2
    expected = by_hand(model, windows[::2][:count])
    assert general_loss(model, tokenizer, TEXT, count * 256, Room(8)) == pytest.approx(expected, abs=1e-5)
    assert general_loss(model, tokenizer, TEXT, 1, Room(8)) == pytest.approx(by_hand(model, windows[:1]), abs=1e-5)


def test_virtual_tokens_carry_no_loss(adapted):
    model, tokenizer = adapted("llama", Prefix(virtual_tokens=5))
    windows = cut(tokenizer)
    loss = general_loss(model, tokenizer, TEXT, 10**6, Room(4))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(windows), attention_mask=torch.ones(len(windows), 256)).logits
    targets = torch.tensor(windows)[:, 1:].flatten()
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets)
    assert loss == pytest.approx(float(expected), abs=1e-5)


def test_the_model_is_evaluated_without_dropout(adapted):
    model, tokenizer = adapted("gpt2", None)
    assert general_loss(model.train(), tokenizer, TEXT, 512, Room(2)) == general_loss(
        model, tokenizer, TEXT, 512, Room(2)
    )
    assert not model.training


def test_a_text_shorter_than_a_window_is_refused(adapted):
    model, tokenizer = adapted("llama", None)
    with pytest.raises(ValueError, match=r"^data\.general must have more than 256 tokens, got \d+$"):
        general_loss(model, tokenizer, "too short", 512, Room(2))

"""The pre-training script: what it draws depends on seed and step alone, so an interrupted run ends the same."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.models import pretrain

TEXTS = [f"def f{i}(x):\n    return x + {i}  # é\n" * 8 for i in range(60)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus, a model and windows that train in a second."""
    monkeypatch.setattr(pretrain, "documents", lambda: iter(TEXTS))
    monkeypatch.setattr(pretrain, "annealing_documents", lambda: iter(TEXTS[:30]))
    monkeypatch.setattr(pretrain.stdlib, "general_text", lambda: TEXTS[0] * 40)
    monkeypatch.setattr(pretrain, "VOCABULARY", 300)
    monkeypatch.setattr(pretrain, "WINDOW", 32)
    monkeypatch.setattr(pretrain, "BATCH", 2)
    monkeypatch.setattr(pretrain, "LOG_EVERY", 2)
    monkeypatch.setattr(pretrain, "SAVE_EVERY", 4)


def test_an_interrupted_run_ends_with_the_weights_of_one_that_was_not(small: None, tmp_path: Path):
    pretrain.train(6, 0, 1e-2, tmp_path / "whole")
    pretrain.train(6, 0, 1e-2, tmp_path / "halted", stop_after=3)
    assert not (tmp_path / "halted" / "model.safetensors").exists()
    pretrain.train(6, 0, 1e-2, tmp_path / "halted")
    whole, halted = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "halted"))
    assert whole.keys() == halted.keys()
    assert all(torch.equal(whole[name], halted[name]) for name in whole)
    assert {tensor.dtype for tensor in whole.values()} == {torch.bfloat16}
    assert not (tmp_path / "whole" / "checkpoint.pt").exists()


def test_what_it_writes_is_a_model_with_its_tokenizer_and_the_loss_falls(small: None, tmp_path: Path):
    pretrain.train(12, 1, 1e-2, tmp_path)
    curve = json.loads((tmp_path / "loss.json").read_text())
    assert [point["step"] for point in curve] == [2, 4, 6, 8, 10, 12]
    assert curve[-1]["loss"] < curve[0]["loss"] - 0.2
    assert [point["step"] for point in curve if "general_loss" in point] == [4, 8, 12]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.decode(tokenizer(TEXTS[3])["input_ids"]) == TEXTS[3]
    ids = torch.tensor([tokenizer(TEXTS[3])["input_ids"][:16]])
    assert AutoModelForCausalLM.from_pretrained(tmp_path)(input_ids=ids).logits.shape == (1, 16, 300)
    card = (tmp_path / "README.md").read_text()
    assert "--seed 1`: 12 steps of 2 x 32 tokens (768 in\nall)" in card
    assert f"| 12 | 768 | {curve[-1]['loss']:.3f} | {curve[-1]['general_loss']:.3f} |" in card


def test_a_window_is_drawn_once_in_an_epoch(small: None):
    stream = torch.arange(32 * 21)
    windows = len(stream) // 32 - 1
    epoch = [pretrain.windows_at(stream, step, 0, 2) for step in range(windows // 2)]
    starts = [int(row[0]) for batch in epoch for row in batch]
    assert len(starts) == len(set(starts)) == windows
    assert len({start % 32 for start in starts}) == 1
    assert all(torch.equal(row, row[0] + torch.arange(32)) for batch in epoch for row in batch)
    following = pretrain.windows_at(stream, windows // 2, 0, 2)
    assert not torch.equal(following, epoch[0])


def test_windows_follow_from_seed_and_step(small: None):
    stream = torch.arange(32 * 50)
    first, again, other = (pretrain.windows_at(stream, 5, seed, 2) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_half_of_each_batch_is_help_pages_while_the_learning_rate_falls(small: None, tmp_path: Path, monkeypatch):
    draw, drawn = pretrain.windows_at, []

    def watched(stream, step, seed, count):
        drawn.append((step, len(stream), count))
        return draw(stream, step, seed, count)

    monkeypatch.setattr(pretrain, "windows_at", watched)
    pretrain.train(5, 0, 1e-2, tmp_path)
    texts, pages = max(size for _, size, _ in drawn), min(size for _, size, _ in drawn)
    assert pages < texts
    both = [(step, size, 1) for step in (3, 4) for size in (texts, pages)]
    assert drawn == [(step, texts, 2) for step in (0, 1, 2)] + both


def test_the_documents_follow_each_other_with_the_end_token_between_them(small: None):
    tokenizer = pretrain.train_tokenizer(TEXTS)
    stream = pretrain.token_stream(tokenizer, TEXTS[:5], seed=0)
    pieces = tokenizer.decode(stream).split(pretrain.END)
    assert sorted(pieces) == ["", *sorted(TEXTS[:5])]
    assert not torch.equal(stream, pretrain.token_stream(tokenizer, TEXTS[:5], seed=1))


def test_the_learning_rate_rises_stays_and_falls():
    assert pretrain.rate(0, 1000) == 1 / 50
    assert pretrain.rate(49, 1000) == pretrain.rate(600, 1000) == 1
    assert pretrain.rate(800, 1000) == pytest.approx(0.5)
    assert pretrain.rate(999, 1000) == pytest.approx(1 / 400)


def test_orthogonalise_brings_all_singular_values_near_one():
    matrix = torch.randn(24, 64, generator=torch.Generator().manual_seed(0))
    flat = pretrain._orthogonalise(matrix, (3.4445, -4.7750, 2.0315), 5, 1e-7)
    assert torch.linalg.svdvals(matrix).max() / torch.linalg.svdvals(matrix).min() > 3
    assert 0.6 < torch.linalg.svdvals(flat).min() < torch.linalg.svdvals(flat).max() < 1.3
    torch.testing.assert_close(pretrain._orthogonalise(matrix.T, (3.4445, -4.7750, 2.0315), 5, 1e-7), flat.T)


def test_the_embedded_model_is_what_its_card_says():
    card, curve = (pretrain.OUT / "README.md").read_text(), json.loads((pretrain.OUT / "loss.json").read_text())
    assert (pretrain.OUT / "model.safetensors").stat().st_size <= 8_000_000
    weights = load_file(pretrain.OUT / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    parameters = sum(tensor.numel() for tensor in weights.values())
    assert parameters == pretrain.new_model().num_parameters()
    assert f"{parameters:,} parameters" in card
    assert f": {curve[-1]['step']:,} steps of {pretrain.BATCH} x {pretrain.WINDOW} tokens" in card
    assert all(f"| {p['step']:,} | {p['tokens']:,} | {p['loss']:.3f} |" in card for p in curve if "general_loss" in p)

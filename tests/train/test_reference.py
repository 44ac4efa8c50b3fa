"""The reference of preferences is computed once for a base and a data set, and again for another."""

from pathlib import Path

import pytest
import torch

from bench.records.cache_dir import VARIABLE
from bench.train import loop, reference
from methods.dpo import Dpo

NAMES = ("ref_chosen_logps", "ref_rejected_logps")


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """The sizes of the batches that were computed, with a cache that is empty."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    found: list[int] = []
    compute = reference.completion_log_probs

    def watched(model, batch):
        found.append(len(batch["labels"]))
        return compute(model, batch)

    monkeypatch.setattr(reference, "completion_log_probs", watched)
    return found


@pytest.fixture
def given(adapted, make_run, examples):
    """A model, its tokenizer and rows of pairs."""
    model, tokenizer = adapted("llama", None)
    return model, tokenizer, loop.rows(make_run(Dpo()), examples, tokenizer)


def test_once_and_then_from_the_cache(computed, given):
    model, tokenizer, rows = given
    first = loop.with_reference(model, rows, tokenizer, 8)
    assert computed == [8] * 6
    again = loop.with_reference(model, rows, tokenizer, 8)
    assert computed == [8] * 6
    for name in NAMES:
        assert first[name] == again[name]


def test_the_order_of_the_rows_is_kept(computed, given):
    model, tokenizer, rows = given
    together = loop.with_reference(model, rows, tokenizer, 8)
    for i in (0, 7, 23):
        alone = loop.with_reference(model, rows.select([i]), tokenizer, 8)
        for name in NAMES:
            assert alone[name][0] == pytest.approx(together[name][i], abs=2e-5)


def test_other_weights_rows_or_batches_are_computed_anew(computed, given):
    model, tokenizer, rows = given
    first = loop.with_reference(model, rows, tokenizer, 8)
    loop.with_reference(model, rows.select(range(23)), tokenizer, 8)
    assert len(computed) == 12
    loop.with_reference(model, rows, tokenizer, 4)
    assert len(computed) == 24
    with torch.no_grad():
        next(model.parameters())[5, 0] += 1.0
    other = loop.with_reference(model, rows, tokenizer, 8)
    assert len(computed) == 30
    assert other[NAMES[0]] != first[NAMES[0]]


def test_a_damaged_file_is_computed_anew_and_replaced(computed, given, tmp_path):
    model, tokenizer, rows = given
    first = loop.with_reference(model, rows, tokenizer, 8)
    (path,) = (tmp_path / "cache").rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:40])
    assert loop.with_reference(model, rows, tokenizer, 8)[NAMES[0]] == first[NAMES[0]]
    assert len(computed) == 12
    loop.with_reference(model, rows, tokenizer, 8)
    assert len(computed) == 12


def test_without_a_cache_nothing_is_kept(computed, given, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "")
    model, tokenizer, rows = given
    for _ in range(2):
        loop.with_reference(model, rows, tokenizer, 8)
    assert len(computed) == 12
    assert not list(tmp_path.rglob("*.safetensors"))

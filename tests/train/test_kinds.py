"""Models with an encoder: the loss of each kind is the library's own, training lowers it, and counts are right."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from bench.data.example import Example
from bench.data.tokens import PadRight, class_row, tokenise, training_row
from bench.models.logits import class_log_probs, completion_log_probs, decoder_inputs, label_log_probs
from bench.records.schema import Training
from bench.train import loop
from methods.full import Full

SIZE = {"vocab_size": 320, "pad_token_id": 1}


def t5() -> PreTrainedModel:
    torch.manual_seed(0)
    return T5ForConditionalGeneration(
        T5Config(
            **SIZE, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=1, eos_token_id=0
        )
    )


def bert(labels: int) -> PreTrainedModel:
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    return BertForSequenceClassification(BertConfig(**SIZE, **size, num_labels=labels))


def test_a_seq2seq_model_s_labelled_loss_is_the_library_s(adapted: Callable[..., Any], examples: tuple[Example, ...]):
    _, tokenizer = adapted("llama", None)
    model = t5().eval()
    batch = PadRight(1)([training_row(t, "seq2seq") for t in tokenise(examples[:6], tokenizer, 64, "seq2seq")])
    assert batch["labels"].shape != batch["input_ids"].shape
    labelled, full = label_log_probs(model, batch), label_log_probs(model, batch, full=True)
    torch.testing.assert_close(labelled, full)
    torch.testing.assert_close(-labelled.mean(), model(**batch).loss, atol=1e-5, rtol=0)
    assert torch.equal(
        decoder_inputs(model, batch["labels"]), model.prepare_decoder_input_ids_from_labels(batch["labels"])
    )
    rows = completion_log_probs(model, batch)
    assert rows.shape == (6,)
    torch.testing.assert_close(rows.sum(), labelled.sum())
    one = PadRight(1)([training_row(tokenise(examples[:1], tokenizer, 64, "seq2seq")[0], "seq2seq")])
    torch.testing.assert_close(completion_log_probs(model, one), rows[:1], atol=1e-5, rtol=1e-5)


def test_a_classifier_s_loss_is_the_library_s(adapted: Callable[..., Any], examples: tuple[Example, ...]):
    _, tokenizer = adapted("llama", None)
    model = bert(5).eval()
    tokens = tokenise(examples[:6], tokenizer, 64, "classifier")
    batch = PadRight(1)([class_row(t, i % 5) for i, t in enumerate(tokens)])
    log_probs = class_log_probs(model, batch)
    assert log_probs.shape == (6, 5)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(6))
    theirs = model(**{**batch, "labels": batch["labels"][:, 0]}).loss
    torch.testing.assert_close(-log_probs.gather(1, batch["labels"]).mean(), theirs)


@pytest.mark.parametrize("kind", ["seq2seq", "classifier"])
def test_training_lowers_the_loss_and_counts_what_it_saw(kind, adapted, make_run, examples, tmp_path):
    _, tokenizer = adapted("llama", None)
    examples = [replace(e, completion=f" {e.prompt.split()[2]}") for e in examples]
    choices = sorted({e.completion for e in examples})
    model: Any = t5() if kind == "seq2seq" else bert(len(choices))
    run = make_run(Full(learning_rate=3e-3), steps=60)
    rows = loop.rows(run, examples, tokenizer, kind, choices)
    found: Training = loop.train(run, model, tokenizer, rows, "float32", "cpu", tmp_path, lambda event: None, kind)
    assert found.final_loss < 0.9 * found.first_loss
    assert found.examples == 240
    if kind == "classifier":
        assert found.trained_tokens == 240
    else:
        assert 0 < found.trained_tokens < found.tokens
        everything = sum(len(row["input_ids"]) + len(row["labels"]) for row in rows)
        assert found.tokens == 10 * everything  # 60 steps of 4 are ten passes over 24 rows


def test_an_encoder_s_prompt_is_cut_behind_its_first_token(tiny_bert_tokenizer: Any):
    long = Example("1", "one two three four five six", " seven")
    whole, cut = (tokenise([long], tiny_bert_tokenizer, n, "classifier")[0].prompt for n in (64, 6))
    assert len(cut) == 6
    assert cut == [whole[0], *whole[-5:]]


def test_answers_and_options_are_tokenised_each_for_itself(adapted: Callable[..., Any]):
    _, tokenizer = adapted("llama", None)
    example = Example("1", "Return", " words", " lines", options=(" words", " lines", " text"))
    (tokens,) = tokenise([example], tokenizer, 64)
    assert tokens.options == (tokens.completion, tokens.rejected, tokens.options[2])
    assert all(row[-1] == tokenizer.eos_token_id for row in tokens.options)
    assert tokenizer.decode(tokens.options[2][:-1]) == " text"


@pytest.fixture
def tiny_bert_tokenizer(tiny_llama: str) -> Any:
    """The tiny tokenizer with a begin and an end token around every text, as BERT's has."""
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A <|pad|>", special_tokens=[("<|endoftext|>", 0), ("<|pad|>", 1)]
    )
    return tokenizer

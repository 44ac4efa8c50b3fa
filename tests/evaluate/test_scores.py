"""Evaluation of a split: scores and outcomes against what a plain loop over the examples gives."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.config import Model, Task
from bench.data.example import Example, TaskData
from bench.data.tokens import tokenise
from bench.evaluate.batches import Room
from bench.evaluate.scores import Outcome, decoding, evaluate
from bench.models.load import load
from bench.models.tiny import tiny_model
from methods.full import Full
from methods.lora import Lora
from methods.prefix import Prefix
from methods.prompt import Prompt

CHOICES = (" json", " random", " text of words", " file")
EXAMPLES = (
    Example("a", "Which module does this docstring belong to?", " json", " random"),
    Example("b", "Open the file.", " text of words", " file"),
    Example("c", "Read", " file", " json"),
    Example("d", "Return the number of words in the text, one by one, and then the lines.", " random", " file"),
    Example("e", "one by one", " json", " text of words"),
)
CHOICE = Task(name="t", kind="classification", max_length=64)


def data(examples=EXAMPLES, choices=CHOICES, kind="classification") -> TaskData:
    return TaskData("Which module?", examples, examples, examples, choices, kind)


@torch.no_grad()
def log_prob(model, tokenizer, prompt: str, completion: str, max_length: int = 64) -> float:
    """Summed log-probability, computed with all logits of a single row."""
    (tokens,) = tokenise([Example("", prompt, completion)], tokenizer, max_length)
    ids = torch.tensor([tokens.prompt + tokens.completion])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -ids.shape[1] :].log_softmax(-1)
    start = len(tokens.prompt) - 1
    return sum(float(logits[start + i, token]) for i, token in enumerate(tokens.completion))


def lengths(tokenizer) -> list[int]:
    return [len(t.completion) for t in tokenise(EXAMPLES, tokenizer, 64)]


@pytest.mark.parametrize("method", [None, Lora(), Prefix(virtual_tokens=4), Prompt(virtual_tokens=4)])
def test_choices_as_a_plain_loop_would_score_them(method, adapted):
    model, tokenizer = adapted("llama", method)
    table = [{c: log_prob(model, tokenizer, e.prompt, c) for c in CHOICES} for e in EXAMPLES]
    scores, outcomes = evaluate(model.train(), tokenizer, data(), EXAMPLES, CHOICE, Room(8))
    best = [max(row, key=row.__getitem__) for row in table]
    right = [row[e.completion] for row, e in zip(table, EXAMPLES, strict=True)]
    preferred = [row[e.completion] > row[e.rejected] for row, e in zip(table, EXAMPLES, strict=True)]
    assert [o.prediction for o in outcomes] == best
    assert [o.preferred for o in outcomes] == preferred
    assert [o.loss for o in outcomes] == pytest.approx([-r for r in right], abs=1e-3)
    assert scores.examples == 5
    assert scores.loss == pytest.approx(-sum(right) / sum(lengths(tokenizer)), abs=1e-4)
    assert {
        name: metric.value for name, metric in scores.metrics.items() if name in ("accuracy", "preference_accuracy")
    } == {
        "accuracy": sum(b == e.completion for b, e in zip(best, EXAMPLES, strict=True)) / 5,
        "preference_accuracy": sum(preferred) / 5,
    }
    assert not model.training


@pytest.mark.parametrize("kind", ["classification", "preference", "text", "generation"])
def test_the_batch_size_changes_nothing_and_outcomes_keep_the_split_s_order(kind: str, adapted):
    model, tokenizer = adapted("llama", None)
    task = replace(CHOICE, kind=kind, max_new_tokens=4)
    whole, first = evaluate(model, tokenizer, data(kind=kind), EXAMPLES, task, Room(100))
    parts, second = evaluate(model, tokenizer, data(kind=kind), EXAMPLES, task, Room(2))
    assert [o.example for o in first] == [o.example for o in second] == list(EXAMPLES)
    assert whole.loss == pytest.approx(parts.loss, abs=1e-5)
    assert {name: m.value for name, m in whole.metrics.items()} == pytest.approx(
        {name: m.value for name, m in parts.metrics.items()}, rel=1e-4
    )
    assert [(o.prediction, o.preferred) for o in first] == [(o.prediction, o.preferred) for o in second]


def test_choices_are_scored_once_whatever_the_kind(adapted):
    model, tokenizer = adapted("gpt2", None)
    chosen, _ = evaluate(model, tokenizer, data(), EXAMPLES, CHOICE, Room())
    read, _ = evaluate(model, tokenizer, data(kind="preference"), EXAMPLES, CHOICE, Room())
    assert read.loss == pytest.approx(chosen.loss, abs=1e-5)
    assert read.metrics["preference_accuracy"] == chosen.metrics["preference_accuracy"]
    margins = [m.metrics["preference_margin"].value for m in (read, chosen)]
    assert margins[0] == pytest.approx(margins[1], abs=1e-4)
    assert chosen.metrics.keys() == {"accuracy", "macro_f1", "matthews", "preference_accuracy", "preference_margin"}
    assert read.metrics.keys() == {"preference_accuracy", "preference_margin"}


def test_a_text_has_a_loss_alone(adapted):
    model, tokenizer = adapted("llama", None)
    texts = tuple(Example(e.id, "", e.prompt) for e in EXAMPLES)
    scores, outcomes = evaluate(model, tokenizer, data(texts, (), "text"), texts, CHOICE, Room(2))
    sums = [log_prob(model, tokenizer, "", e.completion) for e in texts]
    tokens = sum(len(t.completion) for t in tokenise(texts, tokenizer, 64))
    assert scores.loss == pytest.approx(-sum(sums) / tokens, abs=1e-4)
    assert scores.metrics["perplexity"].value == pytest.approx(math.exp(scores.loss))
    assert scores.metrics["bits_per_byte"].value == pytest.approx(
        -sum(sums) / math.log(2) / sum(len(e.completion.encode()) for e in texts), abs=1e-4
    )
    assert scores.metrics.keys() == {"perplexity", "bits_per_byte"}
    assert {(o.correct, o.prediction, o.preferred) for o in outcomes} == {(None, None, None)}


def test_progress_is_told_up_to_the_last_example(adapted):
    model, tokenizer = adapted("llama", None)
    told: list[tuple[int, int]] = []
    evaluate(model, tokenizer, data(), EXAMPLES, CHOICE, Room(8), lambda *n: told.append(n))
    assert told == [(2, 5), (4, 5), (5, 5)]
    told.clear()
    task = replace(GENERATE, max_new_tokens=3)
    evaluate(model, tokenizer, data(kind="text"), EXAMPLES, task, Room(3), lambda *n: told.append(n))
    assert told[-1] == (5, 5)
    told.clear()
    answered = tuple(replace(e, rejected=None) for e in EXAMPLES)
    evaluate(model, tokenizer, data(answered, (), "generation"), answered, task, Room(3), lambda *n: told.append(n))
    assert told == sorted(told)
    assert told[-1] == (5, 5)


def test_a_choice_sees_a_whole_window_of_its_own_prompt(tmp_path: Path):
    """The tiny Gemma 3 sees 32 tokens; these prompts are longer, each by another length."""
    settings = Model(name="tiny", path=tiny_model(tmp_path, "gemma3"))
    model, tokenizer = load(settings, "cpu", None, torch.float32)
    examples = tuple(replace(e, prompt=f"{e.prompt} {'one by one ' * 10}") for e in EXAMPLES)
    prompts = [t.prompt for t in tokenise(examples, tokenizer, 128)]
    assert len({len(prompt) for prompt in prompts}) == 5
    assert min(len(prompt) for prompt in prompts) > 32
    _, outcomes = evaluate(model, tokenizer, data(examples), examples, replace(CHOICE, max_length=128), Room())
    for example, outcome in zip(examples, outcomes, strict=True):
        expected = [log_prob(model, tokenizer, str(example.prompt), choice, 128) for choice in CHOICES]
        assert outcome.option_log_probs == pytest.approx(expected, abs=1e-3)


def test_the_longest_rows_come_first(adapted):
    model, tokenizer = adapted("llama", None)
    widths = []
    handle = model.register_forward_pre_hook(lambda m, a, k: widths.append(k["input_ids"].shape[1]), with_kwargs=True)
    alone = tuple(replace(e, rejected=None) for e in EXAMPLES)
    evaluate(model, tokenizer, data(alone, (), "text"), alone, CHOICE, Room(1))
    handle.remove()
    assert widths.pop(0) == 1  # whether the model can have a reader
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) > 2


ANSWERS = (
    Example("1", "Open the file a", " one text", " x"),
    Example("2", "Open the file b", " by lines", " x"),  # as many tokens as the first
    Example("3", "Return the number of words in", " words", " x"),
)
GENERATE = Task(name="g", kind="generation", max_length=64, max_new_tokens=20)


@pytest.fixture(scope="module")
def knowing(adapted):
    """A model that has learned the first two answers by heart."""
    model, tokenizer = adapted("llama", Full(), noise=0.0)
    rows = [t.prompt + t.completion for t in tokenise(ANSWERS[:2], tokenizer, 64)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        loss = sum(model(input_ids=torch.tensor([row]), labels=torch.tensor([row])).loss for row in rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.requires_grad_(False), tokenizer


def test_what_was_learned_by_heart_is_generated_exactly(knowing):
    model, tokenizer = knowing
    assert len({len(t.prompt) for t in tokenise(ANSWERS, tokenizer, 64)}) > 1
    scores, outcomes = evaluate(model, tokenizer, data(ANSWERS, (), "generation"), ANSWERS, GENERATE, Room())
    assert [o.prediction for o in outcomes[:2]] == [" one text", " by lines"]
    assert [o.correct for o in outcomes] == [True, True, False]
    assert scores.metrics["exact_match"].value == pytest.approx(2 / 3)
    assert outcomes[0].loss < 0.5 < outcomes[2].loss


def test_generation_is_greedy_stops_at_its_limit_and_inherits_nothing(knowing):
    model, tokenizer = knowing
    inherited = model.generation_config
    model.generation_config = type(inherited)(
        do_sample=True, temperature=5.0, max_new_tokens=1, bos_token_id=0, eos_token_id=0, pad_token_id=1
    )
    _, outcomes = evaluate(model, tokenizer, data(ANSWERS, (), "generation"), ANSWERS, GENERATE, Room())
    _, cut = evaluate(
        model, tokenizer, data(ANSWERS, (), "generation"), ANSWERS, replace(GENERATE, max_new_tokens=2), Room()
    )
    model.generation_config = inherited
    assert [o.prediction for o in outcomes[:2]] == [" one text", " by lines"]
    first = tokenizer.decode(tokenizer(" one text")["input_ids"][:2])
    assert cut[0].prediction == first


@pytest.mark.parametrize(
    ("outcome", "correct", "preferred"),
    [
        (Outcome(EXAMPLES[0], 3.0, 2, prediction=" json", margin=-1.0), 1, 0),
        (Outcome(EXAMPLES[0], 3.0, 2, prediction="json \n"), 1, None),
        (Outcome(EXAMPLES[0], 3.0, 2, prediction=" random", margin=1.0), 0, 1),
        (Outcome(EXAMPLES[0], 3.0, 2, margin=1.0), 1, 1),
        (Outcome(EXAMPLES[0], 3.0, 2), None, None),
    ],
)
def test_a_line_of_the_examples_file(outcome: Outcome, correct: int | None, preferred: int | None):
    assert outcome.line() == {
        "id": "a",
        "correct": correct,
        "prediction": outcome.prediction,
        "answer": " json",
        "loss": 1.5,
        "preferred": preferred,
        "metrics": {},
    }


def test_the_record_says_how_answers_are_made():
    assert decoding(CHOICE, "classification") == {"method": "highest summed log-probability among the choices"}
    assert decoding(GENERATE, "generation") == {"method": "greedy", "max_new_tokens": 20}
    assert decoding(CHOICE, "text") == {}


def test_a_prompt_leaves_room_for_the_longest_choice(adapted):
    """The choices are scored in full, and no row is longer than `max_length`."""
    model, tokenizer = adapted("llama", None)
    choices = [t.completion for t in tokenise([Example("", "", c) for c in CHOICES], tokenizer, 64)]
    longest, max_length = max(map(len, choices)), 20
    (cut,) = tokenise(EXAMPLES[3:4], tokenizer, max_length)
    assert len(cut.completion) < longest < max_length
    _, (outcome,) = evaluate(model, tokenizer, data(), EXAMPLES[3:4], replace(CHOICE, max_length=max_length), Room())
    prompt = cut.prompt[-(max_length - longest) :]
    assert len(prompt) < len(cut.prompt)
    for choice, score in zip(choices, outcome.option_log_probs, strict=True):
        logits = model(input_ids=torch.tensor([prompt + choice])).logits[0].log_softmax(-1)
        expected = sum(float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(choice))
        assert score == pytest.approx(expected, abs=1e-4)
    assert outcome.tokens == len(cut.completion)


def test_loss_and_answers_are_the_same_from_one_pass_as_from_two(adapted, monkeypatch):
    """Two where the logits of the right answers are many."""
    model, tokenizer = adapted("llama", Prompt(virtual_tokens=4))
    examples = tuple(replace(e, rejected=None) for e in EXAMPLES)
    split = data(examples, (), "generation")
    one, first = evaluate(model, tokenizer, split, examples, GENERATE, Room(3))
    monkeypatch.setattr("bench.evaluate.scores.AT_ONCE", 0)
    two, second = evaluate(model, tokenizer, split, examples, GENERATE, Room(3))
    assert one.loss == pytest.approx(two.loss, rel=1e-5)
    assert [o.loss for o in first] == pytest.approx([o.loss for o in second], rel=1e-4)
    assert [o.prediction for o in first] == [o.prediction for o in second]

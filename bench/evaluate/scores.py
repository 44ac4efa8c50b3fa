"""Evaluate a model on one split of a task: mean loss, metrics, and what happened to every example.

Examples are taken in order of length, so batches hold little padding; outcomes come back in the split's order.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from bench.config import Measure, Task
from bench.data.example import Example, TaskData
from bench.data.tokens import PadRight, Tokens, tokenise, training_row
from bench.evaluate import metrics
from bench.evaluate.choices import choice_log_probs
from bench.models.logits import completion_log_probs, inner_model
from bench.records.schema import Metric, Scores

Report = Callable[[int, int], None]  # examples done, examples in all


@dataclass
class Outcome:
    """One evaluated example. `loss` is summed over its `tokens`; `prediction` is what the model answered."""

    example: Example
    loss: float
    tokens: int
    prediction: str | None = None
    preferred: bool | None = None

    @property
    def correct(self) -> bool | None:
        """Whether the answer is right; in a task of pairs, whether the right one is preferred."""
        return self.preferred if self.prediction is None else self.prediction.strip() == self.example.completion.strip()

    def line(self) -> dict[str, Any]:
        """The example's line in examples.jsonl."""
        return {
            "id": self.example.id,
            "correct": None if self.correct is None else int(self.correct),
            "prediction": self.prediction,
            "answer": self.example.completion,
            "loss": self.loss / self.tokens,
            "preferred": None if self.preferred is None else int(self.preferred),
        }


def decoding(task: Task, measure: Measure) -> dict[str, Any]:
    """How answers are made from the model, for the record."""
    if task.kind == "choice":
        return {"method": "highest summed log-probability among the choices"}
    if task.kind == "generate":
        return {"method": "greedy", "max_new_tokens": measure.max_new_tokens}
    return {}


@torch.no_grad()
def evaluate(
    model: nn.Module,
    tokenizer: Any,
    data: TaskData,
    examples: Sequence[Example],
    task: Task,
    measure: Measure,
    report: Report = lambda done, of: None,
) -> tuple[Scores, list[Outcome]]:
    """Scores of `examples` (one split of `data`), and an outcome for each in the same order.

    The model is left in evaluation mode.
    """
    model.eval()
    tokens = tokenise(examples, tokenizer, task.max_length)
    if task.kind == "choice":
        found = _choose(model, tokenizer, data, examples, tokens, measure, report)
    else:
        found = _read(model, tokenizer, examples, tokens, task, measure, report)
        if task.kind == "generate":
            _generate(model, tokenizer, tokens, found, measure)
    loss = sum(o.loss for o in found) / sum(o.tokens for o in found)
    return Scores(len(found), loss, _metrics(task, found)), found


def _metrics(task: Task, found: list[Outcome]) -> dict[str, Metric]:
    values: dict[str, Metric] = {}
    if task.kind == "choice":
        values["accuracy"] = metrics.accuracy([bool(o.correct) for o in found])
        answers, predictions = [o.example.completion for o in found], [str(o.prediction) for o in found]
        values["macro_f1"] = metrics.macro_f1(answers, predictions)
    if task.kind == "generate":
        values["exact_match"] = metrics.exact_match([bool(o.correct) for o in found])
    if all(o.preferred is not None for o in found):
        values["preference_accuracy"] = metrics.preference_accuracy([bool(o.preferred) for o in found])
    return values


def _batches(tokens: Sequence[Tokens], size: int) -> Iterator[list[int]]:
    """Indices in order of length, the longest first, so that a batch too large for memory fails at once."""
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i].prompt) + len(tokens[i].completion), reverse=True)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _choose(
    model: nn.Module,
    tokenizer: Any,
    data: TaskData,
    examples: Sequence[Example],
    tokens: Sequence[Tokens],
    measure: Measure,
    report: Report,
) -> list[Outcome]:
    ids = tokenizer(list(data.choices), add_special_tokens=False)["input_ids"]
    choices = [[*row, tokenizer.eos_token_id] for row in ids]
    column = {choice: i for i, choice in enumerate(data.choices)}
    found: dict[int, Outcome] = {}
    for batch in _batches(tokens, max(1, measure.eval_batch_size // len(choices))):
        scores = choice_log_probs(model, [tokens[i].prompt for i in batch], choices).cpu()
        for i, row in zip(batch, scores, strict=True):
            example = examples[i]
            right = float(row[column[example.completion]])
            preferred = None if example.rejected is None else right > float(row[column[example.rejected]])
            prediction = data.choices[int(row.argmax())]
            found[i] = Outcome(example, -right, len(choices[column[example.completion]]), prediction, preferred)
        report(len(found), len(examples))
    return [found[i] for i in range(len(examples))]


def _read(
    model: nn.Module,
    tokenizer: Any,
    examples: Sequence[Example],
    tokens: Sequence[Tokens],
    task: Task,
    measure: Measure,
    report: Report,
) -> list[Outcome]:
    """Loss of the right completion, and whether it is preferred to the rejected one where there is one."""
    collate, found = PadRight(tokenizer.pad_token_id), {}
    for batch in _batches(tokens, measure.eval_batch_size):
        right = _log_probs(model, collate, [tokens[i] for i in batch])
        wrong: list[float] | None = None
        if task.preferences:
            rejected = [Tokens(tokens[i].prompt, tokens[i].rejected or []) for i in batch]
            wrong = _log_probs(model, collate, rejected)
        for place, i in enumerate(batch):
            preferred = None if wrong is None else right[place] > wrong[place]
            found[i] = Outcome(examples[i], -right[place], len(tokens[i].completion), preferred=preferred)
        report(len(found), len(examples))
    return [found[i] for i in range(len(examples))]


def _log_probs(model: nn.Module, collate: PadRight, tokens: Sequence[Tokens]) -> list[float]:
    batch: dict[str, Tensor] = collate([training_row(t) for t in tokens])
    device = inner_model(model).device
    return completion_log_probs(model, {key: value.to(device) for key, value in batch.items()}).tolist()


def _generate(model: Any, tokenizer: Any, tokens: Sequence[Tokens], found: list[Outcome], measure: Measure) -> None:
    """Greedy answers. A batch holds prompts of one length, so nothing is padded and no method's positions shift."""
    settings = GenerationConfig(
        do_sample=False,
        num_beams=1,
        use_cache=True,
        max_new_tokens=measure.max_new_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    device = inner_model(model).device
    by_length: dict[int, list[int]] = {}
    for i, row in enumerate(tokens):
        by_length.setdefault(len(row.prompt), []).append(i)
    for length, members in by_length.items():
        for start in range(0, len(members), measure.eval_batch_size):
            batch = members[start : start + measure.eval_batch_size]
            ids = torch.tensor([tokens[i].prompt for i in batch], device=device)
            output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
            for i, row in zip(batch, output[:, length:], strict=True):
                found[i].prediction = tokenizer.decode(row, skip_special_tokens=True)

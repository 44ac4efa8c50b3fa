"""Evaluate a model on one split of a task: mean loss, metrics, and what happened to every example.

How answers are made is told by the kind of the task and of the model: the most probable of given answers, a
classifier's class, or a greedily generated text. Examples are taken in order of length, so batches hold little
padding; outcomes come back in the split's order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.config import Measure, Task
from bench.data.example import Example, TaskData
from bench.data.tokens import PadRight, Tokens, class_row, tokenise, training_row
from bench.evaluate import metrics
from bench.evaluate.batches import batches
from bench.evaluate.choices import choice_log_probs
from bench.evaluate.generate import generate
from bench.evaluate.outcome import Outcome
from bench.models.logits import class_log_probs, completion_log_probs, inner_model
from bench.records.schema import Scores

Report = Callable[[int, int], None]  # examples done, examples in all
CHOSEN = ("classification", "multiple_choice")  # kinds of task whose answers are given
READ = ("preference", "text")  # kinds without an answer


def decoding(task: Task, kind: str) -> dict[str, Any]:
    """How answers are made from the model in a task of this kind, for the record."""
    if kind in CHOSEN:
        return {"method": "highest summed log-probability among the choices"}
    if kind in READ:
        return {}
    stops = {"stop": list(task.stop)} if task.stop else {}
    return {"method": "greedy", "max_new_tokens": task.max_new_tokens, **stops}


@torch.no_grad()
def evaluate(
    model: nn.Module,
    tokenizer: Any,
    data: TaskData,
    examples: Sequence[Example],
    task: Task,
    measure: Measure,
    report: Report = lambda done, of: None,
    kind: str = "causal",
) -> tuple[Scores, list[Outcome]]:
    """Scores of `examples` (one split of `data`), and an outcome for each in the same order.

    The loss is nats per token of the completion; that of a classifier nats per example. The model is left in
    evaluation mode.

    Args:
        model: a base model, with or without an adapter.
        tokenizer: of the base model.
        data: the whole task; its kind says how answers are made.
        examples: with text prompts.
        task: how answers are generated and judged.
        measure: how many rows at once.
        report: is told of progress.
        kind: of the model: "causal", "classifier" or "seq2seq".
    """
    model.eval()
    tokens = tokenise(examples, tokenizer, task.max_length, kind)
    evaluation = Evaluation(model, tokenizer, data, examples, tokens, measure.eval_batch_size, report, kind)
    if kind == "classifier":
        found = evaluation.classes()
    elif data.kind == "classification":
        found = evaluation.choices(task.max_length)
    elif data.kind == "multiple_choice":
        found = evaluation.options()
    else:
        found = evaluation.completions()
        if data.kind not in READ:
            answers = generate(model, tokenizer, [t.prompt for t in tokens], task, measure.eval_batch_size, kind)
            for outcome, answer in zip(found, answers, strict=True):
                outcome.prediction = answer
    loss = sum(o.loss for o in found) / sum(o.tokens for o in found)
    names = metrics.named(task.metrics, data.kind)
    return Scores(len(found), loss, metrics.measure(names, found, bounded=kind != "classifier")), found


@dataclass
class Evaluation:
    """One split on its way through the model, in one of four ways."""

    model: nn.Module
    tokenizer: Any
    data: TaskData
    examples: Sequence[Example]
    tokens: Sequence[Tokens]
    batch_size: int
    report: Report
    kind: str

    def __post_init__(self) -> None:
        self.collate = PadRight(self.tokenizer.pad_token_id)
        self.device = inner_model(self.model).device

    def choices(self, max_length: int) -> list[Outcome]:
        """The most probable of the task's choices, after a prompt that leaves room for the longest of them."""
        texts = self.data.choices
        ids = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        choices = [[*row, end] for row in ids]
        found: dict[int, Outcome] = {}
        room = max(1, max_length - max(map(len, choices))) if self.kind == "causal" else max_length
        prompts = [t.prompt[-room:] for t in self.tokens]
        size = max(1, self.batch_size // len(choices))
        for batch in batches([len(prompt) for prompt in prompts], size, one_length=self.kind == "causal"):
            scores = choice_log_probs(self.model, [prompts[i] for i in batch], choices).tolist()
            for i, row in zip(batch, scores, strict=True):
                right = len(choices[texts.index(self.examples[i].completion)])
                found[i] = self._chosen(i, row, texts, right)
            self.report(len(found), len(self.examples))
        return self._in_order(found)

    def options(self) -> list[Outcome]:
        """The most probable of the row's own options; a row's options are scored in one batch or more."""
        rows = [(i, k) for i, tokens in enumerate(self.tokens) for k in range(len(tokens.options))]
        rows.sort(key=lambda at: len(self.tokens[at[0]].prompt) + len(self.tokens[at[0]].options[at[1]]), reverse=True)
        scores: list[list[float]] = [[0.0] * len(tokens.options) for tokens in self.tokens]
        for start in range(0, len(rows), self.batch_size):
            part = rows[start : start + self.batch_size]
            made = [Tokens(self.tokens[i].prompt, self.tokens[i].options[k]) for i, k in part]
            for (i, k), value in zip(part, self._log_probs(made), strict=True):
                scores[i][k] = value
            self.report(len(self.examples) * (start + len(part)) // len(rows), len(self.examples))
        found = []
        for i, (example, tokens) in enumerate(zip(self.examples, self.tokens, strict=True)):
            found.append(self._chosen(i, scores[i], example.options, len(tokens.completion)))
        return found

    def classes(self) -> list[Outcome]:
        """A classifier's most probable class."""
        found: dict[int, Outcome] = {}
        for batch in batches(self._lengths(), self.batch_size):
            rows = self.collate([class_row(self.tokens[i], 0) for i in batch])
            scores = class_log_probs(self.model, {key: value.to(self.device) for key, value in rows.items()}).tolist()
            for i, row in zip(batch, scores, strict=True):
                found[i] = self._chosen(i, row, self.data.choices, 1)
            self.report(len(found), len(self.examples))
        return self._in_order(found)

    def completions(self) -> list[Outcome]:
        """Loss of the right completion, and its margin over the rejected one where every example has one."""
        pairs = all(t.rejected is not None for t in self.tokens)
        found: dict[int, Outcome] = {}
        for batch in batches(self._lengths(), self.batch_size):
            right = self._log_probs([self.tokens[i] for i in batch])
            wrong = (
                self._log_probs([Tokens(self.tokens[i].prompt, self.tokens[i].rejected or []) for i in batch])
                if (pairs)
                else []
            )
            for place, i in enumerate(batch):
                margin = right[place] - wrong[place] if pairs else None
                found[i] = Outcome(self.examples[i], -right[place], len(self.tokens[i].completion), margin=margin)
            self.report(len(found), len(self.examples))
        return self._in_order(found)

    def _chosen(self, i: int, scores: list[float], texts: Sequence[str], tokens: int) -> Outcome:
        example = self.examples[i]
        right = scores[texts.index(example.completion)]
        rejected = example.rejected
        margin = right - scores[texts.index(rejected)] if rejected in texts else None
        prediction = texts[scores.index(max(scores))]
        return Outcome(example, -right, tokens, prediction, margin, list(scores))

    def _log_probs(self, tokens: Sequence[Tokens]) -> list[float]:
        rows = self.collate([training_row(t, self.kind) for t in tokens])
        found: list[float] = completion_log_probs(self.model, {k: v.to(self.device) for k, v in rows.items()}).tolist()
        return found

    def _lengths(self) -> list[int]:
        return [len(t.prompt) + len(t.completion) for t in self.tokens]

    def _in_order(self, found: dict[int, Outcome]) -> list[Outcome]:
        return [found[i] for i in range(len(self.examples))]

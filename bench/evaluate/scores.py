"""Evaluate a model on one split of a task: mean loss, metrics, and what happened to every example.

How answers are made is told by the kind of the task and of the model: the most probable of given answers, a
classifier's class, or a greedily generated text. Examples are taken in order of length, so batches hold little
padding; outcomes come back in the split's order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bench.config import Task
from bench.data.example import Example, TaskData
from bench.data.tokens import PadRight, Tokens, class_row, tokenise, training_row
from bench.evaluate import metrics
from bench.evaluate.batches import Report, Room, in_batches
from bench.evaluate.choices import answer_log_probs
from bench.evaluate.generate import Writer, generate, greedy
from bench.evaluate.outcome import Outcome
from bench.evaluate.reading import Reader, reader
from bench.models.logits import class_log_probs, completion_log_probs, inner_model
from bench.records.schema import Scores

T = TypeVar("T")
CHOSEN = ("classification", "multiple_choice")  # kinds of task whose answers are given
AT_ONCE = 2**26  # logits, 256 MiB, up to which those of right answers are computed in the pass that reads the prompts
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
    room: Room,
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
        room: for how many rows at once; a prompt with 16 choices is 16 rows.
        report: is told of progress.
        kind: of the model: "causal", "classifier" or "seq2seq".

    Raises:
        MemoryError: a single row does not fit.
    """
    model.eval()
    tokens = tokenise(examples, tokenizer, task.max_length, kind)
    reads = reader(model, [t.prompt for t in tokens]) if kind == "causal" else None
    evaluation = Evaluation(model, tokenizer, data, examples, tokens, room, report, kind, reads)
    if kind == "classifier":
        found = evaluation.classes()
    elif data.kind == "classification":
        found = evaluation.choices(task.max_length)
    elif data.kind == "multiple_choice":
        found = evaluation.options()
    elif all(t.rejected is not None for t in tokens):
        found = evaluation.pairs()
    elif reads is None or data.kind in READ or evaluation.logits() > AT_ONCE:
        found = evaluation.completions()
    else:
        found = evaluation.answers(task)
    if data.kind not in (*CHOSEN, *READ) and any(o.prediction is None for o in found):
        answers = generate(model, tokenizer, [t.prompt for t in tokens], task, room, kind, reads)
        for outcome, answer in zip(found, answers, strict=True):
            outcome.prediction = answer
    loss = sum(o.loss for o in found) / sum(o.tokens for o in found)
    names = metrics.named(task.metrics, data.kind)
    return Scores(len(found), loss, metrics.measure(names, found, bounded=kind != "classifier")), found


@dataclass
class Evaluation:
    """One split on its way through the model, in one of six ways."""

    model: nn.Module
    tokenizer: Any
    data: TaskData
    examples: Sequence[Example]
    tokens: Sequence[Tokens]
    room: Room
    report: Report
    kind: str
    reads: Reader | None

    def __post_init__(self) -> None:
        self.collate = PadRight(self.tokenizer.pad_token_id)
        self.device = inner_model(self.model).device

    def choices(self, max_length: int) -> list[Outcome]:
        """The most probable of the task's choices, after a prompt that leaves room for the longest of them."""
        texts = self.data.choices
        ids = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        choices = [[*row, self.tokenizer.eos_token_id] for row in ids]
        room = max(1, max_length - max(map(len, choices))) if self.kind == "causal" else max_length
        prompts = [t.prompt[-room:] for t in self.tokens]
        if prompts != [t.prompt for t in self.tokens] and self.reads is not None:
            self.reads = reader(self.model, prompts)  # some begin later now
        scores = self._answers(prompts, [choices] * len(prompts))
        right = [len(choices[texts.index(example.completion)]) for example in self.examples]
        return [self._chosen(i, row, texts, right[i]) for i, row in enumerate(scores)]

    def options(self) -> list[Outcome]:
        """The most probable of the row's own options."""
        scores = self._answers([t.prompt for t in self.tokens], [t.options for t in self.tokens])
        found = []
        for i, (example, tokens) in enumerate(zip(self.examples, self.tokens, strict=True)):
            found.append(self._chosen(i, scores[i], example.options, len(tokens.completion)))
        return found

    def pairs(self) -> list[Outcome]:
        """Loss of the right completion, and its margin over the rejected one."""
        answers = [[t.completion, t.rejected or []] for t in self.tokens]
        found = []
        for i, (right, wrong) in enumerate(self._answers([t.prompt for t in self.tokens], answers)):
            found.append(Outcome(self.examples[i], -right, len(self.tokens[i].completion), margin=right - wrong))
        return found

    def completions(self) -> list[Outcome]:
        """Loss of the completion."""

        def score(batch: list[int]) -> list[Outcome]:
            rows = [self.tokens[i] for i in batch]
            return [
                Outcome(self.examples[i], -value, len(self.tokens[i].completion))
                for i, value in zip(batch, self._log_probs(rows).tolist(), strict=True)
            ]

        return self._each([len(t.prompt) + len(t.completion) for t in self.tokens], score)

    def answers(self, task: Task) -> list[Outcome]:
        """Generated answers, and from the same pass over the prompts the loss of the right ones."""
        assert self.reads is not None
        prompts, completions = [t.prompt for t in self.tokens], [t.completion for t in self.tokens]
        settings = greedy(self.model, self.tokenizer, task)
        writer = Writer(self.reads, self.tokenizer, prompts, settings, completions, self.report)
        writer.finish(self.room)
        return [
            Outcome(example, -value, len(completion), prediction)
            for example, value, completion, prediction in zip(
                self.examples, writer.log_probs, completions, writer.texts(), strict=True
            )
        ]

    def logits(self) -> int:
        """Of all tokens of the completions in a full batch, about."""
        tokens = sum(len(t.completion) for t in self.tokens) / len(self.tokens)
        return int(self.room.rows * tokens * inner_model(self.model).config.vocab_size)

    def classes(self) -> list[Outcome]:
        """A classifier's most probable class."""

        def score(batch: list[int]) -> list[Outcome]:
            rows = self.collate([class_row(self.tokens[i], 0) for i in batch])
            scores = class_log_probs(self.model, {key: value.to(self.device) for key, value in rows.items()}).tolist()
            return [self._chosen(i, row, self.data.choices, 1) for i, row in zip(batch, scores, strict=True)]

        return self._each([len(t.prompt) for t in self.tokens], score)

    def _answers(self, prompts: Sequence[list[int]], answers: Sequence[Sequence[list[int]]]) -> list[list[float]]:
        """Summed log-probability of each prompt's answers."""

        def score(batch: list[int]) -> list[list[float]]:
            some = [answers[i] for i in batch]
            found = answer_log_probs(self.model, self.reads, [prompts[i] for i in batch], some)
            return [row.tolist() for row in found]

        lengths = [len(prompt) + max(map(len, some)) for prompt, some in zip(prompts, answers, strict=True)]
        return self._each(lengths, score, max(map(len, answers)))

    def _each(self, lengths: Sequence[int], score: Callable[[list[int]], list[T]], rows: int = 1) -> list[T]:
        """What `score` finds for every example, in their order; each is so many rows."""
        found: dict[int, T] = {}

        def work(batch: list[int]) -> None:
            found.update(zip(batch, score(batch), strict=True))
            self.report(len(found), len(self.examples))

        in_batches(lengths, self.room, work, rows)
        return [found[i] for i in range(len(self.examples))]

    def _chosen(self, i: int, scores: list[float], texts: Sequence[str], tokens: int) -> Outcome:
        example = self.examples[i]
        right = scores[texts.index(example.completion)]
        rejected = example.rejected
        margin = right - scores[texts.index(rejected)] if rejected in texts else None
        prediction = texts[scores.index(max(scores))]
        return Outcome(example, -right, tokens, prediction, margin, list(scores))

    def _log_probs(self, tokens: Sequence[Tokens]) -> Tensor:
        rows = self.collate([training_row(t, self.kind) for t in tokens])
        return completion_log_probs(self.model, {key: value.to(self.device) for key, value in rows.items()})

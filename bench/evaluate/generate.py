"""Greedy answers to prompts.

Rows are written together, and each leaves as soon as it is finished; others then take the places that became free, so
that no row waits for the longest answer of its batch. transformers' own continuous batching does the same, but for
models without soft prompts alone, and needs another attention. Where a model has no reader, its own `generate` writes
in batches of prompts of one length (an encoder's input is padded), each of which ends with its longest answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation import StopStringCriteria

from bench.config import Task
from bench.data.tokens import pad
from bench.evaluate.batches import Report, Room, in_batches
from bench.evaluate.reading import Read, Reader, reader
from bench.models.logits import inner_model

REFILL = 0.75  # share of the places at work, at which the free ones are filled: reading a few prompts costs a pass


@torch.no_grad()
def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    task: Task,
    room: Room,
    kind: str = "causal",
    reads: Reader | None = None,
) -> list[str]:
    """The model's greedy answer to each prompt, without what follows the first of the task's stop texts.

    An answer ends at the tokenizer's end token, at one of the model's own, at a stop text or after
    `task.max_new_tokens`.

    Args:
        model: in evaluation mode, with or without an adapter.
        tokenizer: of the base model.
        prompts: token ids, at least one each.
        task: says when an answer ends.
        room: for how many rows at once.
        kind: of the model: "causal" or "seq2seq".
        reads: the reader of these prompts; by default one is made, where the model can have one.
    """
    reads = reads or reader(model, prompts)
    if reads is not None:
        writer = Writer(reads, tokenizer, prompts, greedy(model, tokenizer, task))
        writer.finish(room)
        return writer.texts()
    rows = _by_library(model, tokenizer, prompts, task, room, kind)
    return [cut(tokenizer.decode(row, skip_special_tokens=True), task.stop) for row in rows]


def _by_library(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], task: Task, room: Room, kind: str
) -> list[Tensor]:
    settings = greedy(model, tokenizer, task)
    device = inner_model(model).device
    rows: dict[int, Tensor] = {}

    def write(batch: list[int]) -> None:
        ids = pad([prompts[i] for i in batch], tokenizer.pad_token_id).to(device)
        mask = pad([[1] * len(prompts[i]) for i in batch], 0).to(device)
        output = model.generate(
            input_ids=ids, attention_mask=mask, generation_config=settings, tokenizer=tokenizer if task.stop else None
        )
        rows.update(zip(batch, output[:, ids.shape[1] :] if kind == "causal" else output, strict=True))

    lengths = [len(prompt) + task.max_new_tokens for prompt in prompts]
    in_batches(lengths, room, write, one_length=kind == "causal")
    return [rows[i] for i in range(len(prompts))]


@dataclass
class Writer:
    """Writes answers to prompts, many at once.

    Attributes:
        reads: reader of the prompts.
        tokenizer: of the model.
        prompts: token ids.
        settings: when an answer ends.
        completions: other answers, whose log-probabilities are wanted from the same pass over the prompts.
        report: is told how many answers are finished, of how many.
        written: the answers as token ids, by prompt.
        log_probs: summed, of the completions.
    """

    reads: Reader
    tokenizer: Any
    prompts: Sequence[list[int]]
    settings: GenerationConfig
    completions: Sequence[list[int]] = ()
    report: Report = lambda done, of: None
    written: list[list[int]] = field(init=False)
    log_probs: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.written, self.log_probs = [[] for _ in self.prompts], [0.0] * len(self.prompts)
        self.completions = self.completions or [[]] * len(self.prompts)
        self._waiting = sorted(range(len(self.prompts)), key=lambda i: len(self.prompts[i]))  # the longest last
        self._at_work: list[int] = []
        self._read: Read | None = None
        stops = self.settings.stop_strings
        self._stops = StopStringCriteria(self.tokenizer, stops) if stops else None

    def finish(self, room: Room) -> None:
        """Write all answers, as many at once as there is room for."""
        while self._waiting or self._at_work:
            longest = self._longest()
            rows = min(room.at_once(longest), len(self._waiting) + len(self._at_work))
            if not room.suffices(partial(self._work, rows), rows, longest):
                self._put_back()

    def texts(self) -> list[str]:
        """The answers, without what follows the first of the stop texts."""
        stops = self.settings.stop_strings or ()
        return [cut(self.tokenizer.decode(row, skip_special_tokens=True), stops) for row in self.written]

    def _longest(self) -> int:
        """Tokens of the longest row, with its answer, among those at work and the next."""
        new = self.settings.max_new_tokens
        some = (*self._at_work, *self._waiting[-1:])
        return max(len(self.prompts[i]) + max(new, len(self.completions[i])) for i in some)

    def _work(self, rows: int) -> None:
        """Let prompts into the free places among so many rows, then write until it is worth letting in the next."""
        self._let_in(rows - len(self._at_work))
        while self._at_work and not (self._waiting and len(self._at_work) <= rows * REFILL):
            self._step()

    def _let_in(self, places: int) -> None:
        some = [self._waiting.pop() for _ in range(min(places, len(self._waiting)))]
        if some:
            self._at_work += some
            completions = [self.completions[i] for i in some]
            read, log_probs = self.reads.read_through([self.prompts[i] for i in some], completions)
            for i, value in zip(some, log_probs.tolist(), strict=True):
                self.log_probs[i] = value
            self._read = read if self._read is None else self._read.joined(read)

    def _step(self) -> None:
        """One token more for every row; those that are finished leave."""
        assert self._read is not None
        tokens = self._read.logits.argmax(-1)
        for i, token in zip(self._at_work, tokens.tolist(), strict=True):
            self.written[i].append(token)
        ended = self._ended()
        stay = [place for place, end in enumerate(ended) if not end]
        self._at_work = [self._at_work[place] for place in stay]
        if len(stay) < len(ended):
            self.report(len(self.prompts) - len(self._waiting) - len(stay), len(self.prompts))
        if not stay:
            self._read = None
        else:
            if len(stay) < len(ended):
                self._read, tokens = self._read.select(stay), tokens[stay]
            self._read = self.reads.step(self._read, tokens)

    def _ended(self) -> list[bool]:
        """Which of the rows at work are finished."""
        rows = [self.written[i] for i in self._at_work]
        found = [row[-1] in self.settings.eos_token_id or len(row) >= self.settings.max_new_tokens for row in rows]
        if self._stops is None:
            return found
        # a stop text may have begun in the prompt, as it may for transformers' own `generate`
        seen = self._stops.maximum_token_len
        ends = [(self.prompts[i] + row)[-seen:] for i, row in zip(self._at_work, rows, strict=True)]
        padded = [[self.settings.pad_token_id] * (seen - len(row)) + row for row in ends]
        stopped = self._stops(torch.tensor(padded), None).tolist()
        return [end or stop for end, stop in zip(found, stopped, strict=True)]

    def _put_back(self) -> None:
        for i in self._at_work:
            self.written[i].clear()
        self._waiting = sorted({*self._waiting, *self._at_work}, key=lambda i: len(self.prompts[i]))
        self._at_work, self._read = [], None


def greedy(model: Any, tokenizer: Any, task: Task) -> GenerationConfig:
    """The settings of a greedy generation, of which none is the model's own but the tokens that end an answer."""
    own = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None}
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        use_cache=True,
        max_new_tokens=task.max_new_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=model.generation_config.decoder_start_token_id,
        stop_strings=list(task.stop) or None,
    )


def cut(text: str, stops: Sequence[str]) -> str:
    """The text without the first of the stop texts and what follows it."""
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text

"""What is measured of the training steps: time, tokens and loss of each, without disturbing them.

A step is timed from the first forward to the end of the optimizer's step; fetching data, logging, saving and
everything else lies outside. Tokens and losses leave the device by themselves, and a step is written down as soon
as its figures have arrived: at once on a CPU, a few steps later on a GPU.
"""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bench.config import Train
from bench.measure.clock import ForeignCpu, StepClock
from bench.records.store import append_line
from bench.train import ranks
from bench.train.figures import Figures
from bench.train.interrupt import Interrupt

Send = Callable[[dict[str, Any]], None]
QUIET = 10.0  # seconds without a report, after which a step is reported whatever its number
WINDOW = 10  # steps whose mean loss must explode


class Diverged(Exception):
    """The loss is not finite, or has exploded."""


@dataclass(frozen=True)
class Step:
    """One optimizer step over all processes, as steps.jsonl has it."""

    step: int
    loss: float
    learning_rate: float
    seconds: float
    examples: int
    tokens: int
    trained_tokens: int
    warmup: bool


@dataclass
class StepMeter(TrainerCallback):
    """Times and counts the steps of a Trainer, reports progress, and ends the training when the budget is spent.

    `count` is called by the trainer for every micro batch; the rest by the callback protocol.

    Attributes:
        settings: of the loop.
        total_steps: of the budget; None if that is in seconds.
        seconds: of step time, if the budget is in seconds.
        log: the file that takes the steps; None writes none.
        send: takes progress events.
        steps: those whose figures have arrived; at the start, those of an interrupted training that goes on.
    """

    device: str
    settings: Train
    total_steps: int | None
    seconds: float
    warmup_steps: int
    log: Path | None
    send: Send
    steps: list[Step] = field(default_factory=list)
    interrupt: Interrupt = field(default_factory=Interrupt)

    def __post_init__(self) -> None:
        self.clock = StepClock(self.device)
        self.foreign = ForeignCpu()
        self._step_seconds, self._tokens = sum(step.seconds for step in self.steps), sum(s.tokens for s in self.steps)
        self.elapsed = self._step_seconds  # by the host's clock
        self._done = len(self.steps)
        self._counts: Tensor | None = None  # examples, tokens, trained tokens, loss of the open step
        self._pending: deque[tuple[Figures, Callable[[], float], float]] = deque()
        self._reported_at = time.monotonic()

    def progress(self, step: int) -> float:
        """Share of the budget that is spent when `step` steps are done."""
        if self.total_steps is None:
            return min(1.0, self.elapsed / self.seconds)
        return min(1.0, step / self.total_steps)

    def count(self, examples: int, tokens: Tensor, trained_tokens: Tensor, loss: Tensor) -> None:
        """Add one micro batch to the open step."""
        counts = [torch.full((), examples, device=loss.device), tokens, trained_tokens, loss]
        found = torch.stack([figure.detach().float() for figure in counts])
        self._counts = found if self._counts is None else self._counts + found

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start watching what else the machine does."""
        self.foreign.start()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock, and note the learning rate, which the schedule changes before the step's end."""
        self._learning_rate = kwargs["optimizer"].param_groups[0]["lr"]
        self._began = time.perf_counter()
        self.clock.start()

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Stop the clock, before the schedule asks how much of the budget is spent."""
        if self.total_steps is None and self.device == "cuda":
            torch.cuda.synchronize()  # the host runs ahead of the device, whose seconds are the budget
        self._seconds = self.clock.stop()
        self.elapsed += time.perf_counter() - self._began
        if self.total_steps is None:
            self.elapsed = ranks.of_first(self.elapsed, self.device)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Close the step, and end the training if the budget is spent or the user has asked to stop."""
        assert self._counts is not None
        asked = torch.full((1,), float(self.interrupt.asked), device=self._counts.device)
        figures = Figures(ranks.total(torch.cat([self._counts, asked])))
        self._pending.append((figures, self._seconds, self._learning_rate))
        self._counts = None
        self._done += 1
        spent = self.progress(self._done) >= 1
        silent = ranks.world() == 1 and time.monotonic() - self._reported_at > QUIET
        saves = self.settings.save_every
        control.should_save = bool(saves) and self._done % saves == 0 and not spent
        due = self._done == 1 or self._done % self.settings.log_every == 0 or spent or silent
        stop = self._collect(wait=due or control.should_save)
        if due:
            self._report()
        if stop and saves and not spent:
            self._collect(wait=True)  # a checkpoint needs the steps before it
            control.should_save = True
        if stop and not control.should_save:
            raise KeyboardInterrupt
        self._stopping = stop
        control.should_training_stop = control.should_training_stop or spent
        return control

    def on_save(self, *_: Any, **__: Any) -> None:
        """Stop after the checkpoint, if the user has asked to."""
        if self._stopping:
            raise KeyboardInterrupt

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Write the steps whose figures were still on their way."""
        self.foreign.stop()
        self._collect(wait=True)

    def flush(self) -> None:
        """Write down what was on its way when an error ended the training."""
        with contextlib.suppress(Diverged):
            self._collect(wait=True)

    def _collect(self, wait: bool) -> bool:
        """Write down the steps whose figures have arrived, or all; returns whether all processes shall stop.

        Several processes must decide that for the same step: for any on a CPU, on GPUs where all of them wait.
        """
        stop = ranks.world() == 1 and self.interrupt.asked
        while self._pending and (wait or self._pending[0][0].arrived()):
            figures, seconds, learning_rate = self._pending.popleft()
            examples, tokens, trained, loss, asked = figures.read()
            number = len(self.steps) + 1
            step = Step(
                step=number,
                loss=loss / ranks.world(),
                learning_rate=learning_rate,
                seconds=seconds(),
                examples=int(examples),
                tokens=int(tokens),
                trained_tokens=int(trained),
                warmup=number <= self.warmup_steps,
            )
            self.steps.append(step)
            self._step_seconds, self._tokens = self._step_seconds + step.seconds, self._tokens + step.tokens
            if self.log is not None:
                append_line(self.log, vars(step))
            self._judge(step)
            stop = stop or (asked > 0 and (wait or self.device == "cpu"))
        return stop

    def _judge(self, step: Step) -> None:
        if not math.isfinite(step.loss):
            raise Diverged(f"the loss became {step.loss} at step {step.step}")
        last = [each.loss for each in self.steps[-WINDOW:]]
        mean, limit = sum(last) / len(last), self.settings.explosion * max(1.0, self.steps[0].loss)
        if len(last) == WINDOW and mean > limit:
            raise Diverged(
                f"the loss exploded: {self.steps[0].loss:.3g} at the first step, {mean:.3g} in the mean of the "
                f"{WINDOW} steps up to step {step.step} (train.explosion={self.settings.explosion:g})"
            )

    def throughput(self) -> dict[str, float]:
        """Non-padding tokens per second of step time so far; empty before the first step."""
        return {"tokens_per_s": self._tokens / self._step_seconds} if self._step_seconds else {}

    def _report(self) -> None:
        self._reported_at = time.monotonic()
        event: dict[str, Any] = {
            "event": "step",
            "step": self._done,
            "steps": self.total_steps,
            "loss": self.steps[-1].loss,
            "seconds": self._step_seconds,
            "budget": self.progress(self._done),
        } | self.throughput()
        if self.device == "cuda":
            event["memory_bytes"] = torch.cuda.memory_reserved()
        self.send(event)

"""What is measured of the training steps: time, tokens and loss of each, without disturbing them.

A step is timed from the first forward to the end of the optimizer's step; fetching data, logging and everything
else lies outside. Tokens and losses stay on the device until somebody reads them.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bench.measure.clock import ForeignCpu, StepClock
from bench.records.store import append_line

Send = Callable[[dict[str, Any]], None]


class Diverged(Exception):
    """The loss is not finite."""


@dataclass
class Step:
    """One optimizer step: examples and tokens seen, tokens with loss, and the loss."""

    examples: int
    tokens: Tensor
    trained_tokens: Tensor
    loss: Tensor
    learning_rate: float = 0.0


@dataclass
class StepMeter(TrainerCallback):
    """Times and counts the steps of a Trainer, reports progress, and ends the training when the budget is spent.

    `count` is called by the trainer for every micro batch; the rest by the callback protocol.
    """

    device: str
    total_steps: int | None
    seconds: float
    warmup_steps: int
    log_every: int
    log: Path
    send: Send
    steps: list[Step] = field(default_factory=list)
    elapsed: float = 0.0  # seconds of step time by the host's clock; on CUDA only a budget in seconds makes it wait

    def __post_init__(self) -> None:
        self.clock = StepClock(self.device)
        self.foreign = ForeignCpu()
        self._logged = 0
        self._open: Step | None = None

    def progress(self, step: int) -> float:
        """Share of the budget that is spent when `step` steps are done."""
        if self.total_steps is None:
            return min(1.0, self.elapsed / self.seconds)
        return min(1.0, step / self.total_steps)

    def count(self, examples: int, tokens: Tensor, trained_tokens: Tensor, loss: Tensor) -> None:
        """Add one micro batch to the open step."""
        if self._open is None:
            self._open = Step(examples, tokens, trained_tokens, loss)
        else:
            self._open.examples += examples
            self._open.tokens = self._open.tokens + tokens
            self._open.trained_tokens = self._open.trained_tokens + trained_tokens
            self._open.loss = self._open.loss + loss

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
        self.clock.stop()
        self.elapsed += time.perf_counter() - self._began

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Close the step, and end the training if the budget is spent."""
        assert self._open is not None
        self._open.learning_rate = self._learning_rate
        self.steps.append(self._open)
        self._open = None
        done = len(self.steps)
        spent = self.progress(done) >= 1
        if done == 1 or done % self.log_every == 0 or spent:
            self._report(done)
        control.should_training_stop = control.should_training_stop or spent
        return control

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Write the steps that were not reported yet."""
        self.foreign.stop()
        self.flush()

    def _report(self, done: int) -> None:
        loss = float(self.steps[-1].loss)
        seconds = sum(self.clock.times())
        event = {"event": "step", "step": done, "steps": self.total_steps, "loss": loss, "seconds": seconds}
        tokens = float(torch.stack([step.tokens for step in self.steps]).sum())
        self.send(event | {"tokens_per_s": tokens / seconds, "budget": self.progress(done)})
        if not math.isfinite(loss):
            self.flush()
            raise Diverged(f"the loss became {loss} at step {done}")

    def flush(self) -> None:
        """Append the finished steps that are not yet in steps.jsonl."""
        times = self.clock.times()
        for number, step in enumerate(self.steps[self._logged :], start=self._logged + 1):
            line = {
                "step": number,
                "loss": float(step.loss),
                "learning_rate": step.learning_rate,
                "seconds": times[number - 1],
                "tokens": int(step.tokens),
                "trained_tokens": int(step.trained_tokens),
                "warmup": number <= self.warmup_steps,
            }
            append_line(self.log, line)
        self._logged = len(self.steps)

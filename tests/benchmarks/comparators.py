"""Ways to train that ours is compared with, each as its users have it, on the same rows.

- bare: the least that PyTorch needs: forward, backward, clip, step.
- peft-style: what huggingface/peft's method_comparison does in a step: batches padded to their longest row within
  buckets of twenty, sorted from long to short; all logits; the loss and the memory read every step; the cache of the
  device emptied every ten.
- trl-default: TRL's SFTTrainer and DPOTrainer with the settings that they have by themselves.

Every one is watched from the model's door: when a forward pass begins, and how many tokens of it are no padding.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bench.data.tokens import IGNORED, PadRight, Tokens, training_row
from bench.models.logits import completion_log_probs, label_log_probs
from bench.records import store
from bench.train import loop
from bench.train.losses import Pairs, preference_loss
from tests.benchmarks.jobs import Job, in_scratch

WARMUP = 2  # steps that do not count
BUCKET = 20  # batches, of which peft-style sorts the rows by length
EMPTY_CACHE = 10  # steps


@dataclass
class Pace:
    """The steps of one training.

    Attributes:
        began: seconds, when each forward pass began.
        tokens: that were no padding in each.
        losses: of the steps, if the loop tells them.
    """

    device: str
    began: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def step_s(self) -> float:
        """Median seconds from one step to the next, with all that lies between."""
        return median(b - a for a, b in zip(self.began[WARMUP:], self.began[WARMUP + 1 :], strict=False))

    @property
    def tokens_per_s(self) -> float:
        """Non-padding tokens per second, from the end of the warm-up to the beginning of the last step."""
        return sum(self.tokens[WARMUP:-1]) / (self.began[-1] - self.began[WARMUP])

    def note(self, mask: Tensor) -> None:
        """A forward pass begins; a GPU is waited for where the interval begins, and at its end."""
        if self.device == "cuda" and len(self.began) >= WARMUP:
            torch.cuda.synchronize()
        self.began.append(time.perf_counter())
        self.tokens.append(int(mask.sum()))


def watched(job: Job, train: Callable[[], list[float] | None]) -> Pace:
    """Train, and see what becomes of the model meanwhile."""
    pace = Pace(job.device)

    def enters(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
        pace.note(kwargs["attention_mask"])

    job.model.train()
    hook = job.model.register_forward_pre_hook(enters, with_kwargs=True)
    try:
        pace.losses = train() or []
    finally:
        hook.remove()
    return pace


def ours(job: Job, steps: int, **train: Any) -> Pace:
    """tunebench's loop."""
    run = job.again(steps, **train)

    def carried_out(folder: Path) -> list[float]:
        arguments = (run, job.model, job.tokenizer, job.rows, run.train.precision, job.device, folder)
        loop.train(*arguments, send=lambda _: None)
        return [line["loss"] for line in store.read_lines(folder / store.STEPS)]

    return watched(job, lambda: in_scratch(carried_out))


def bare(job: Job, steps: int) -> Pace:
    """The same loss, the same batches in the order of the rows, the same optimizer, and nothing else."""
    parameters, collate = job.parameters(), PadRight(job.tokenizer.pad_token_id)
    optimizer = torch.optim.AdamW(parameters, job.run.method.learning_rate, weight_decay=0.0, fused=True)

    def carried_out() -> list[float]:
        losses = []
        for part in _in_order(job, steps):
            loss = _loss(job, part, collate)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, job.run.train.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        return torch.stack(losses).tolist()

    return watched(job, carried_out)


def peft_style(job: Job, steps: int) -> Pace:
    """What method_comparison does in a step, with its optimizer, of the labels that ours has."""
    optimizer = torch.optim.AdamW(job.parameters(), job.run.method.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    pad_id = job.tokenizer.pad_token_id
    allocated, reserved = [], []

    def carried_out() -> list[float]:
        losses = []
        for step, part in enumerate(_bucketed(job, steps), start=1):
            batch = {key: value.to(job.device) for key, value in PadRight(pad_id)(part).items()}
            labels = (batch["labels"][:, 1:] != IGNORED).sum().item()
            optimizer.zero_grad()
            loss = job.model(**batch, num_items_in_batch=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(job.model.parameters(), job.run.train.max_grad_norm)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            allocated.append(torch.cuda.memory_allocated())
            reserved.append(torch.cuda.memory_reserved())
            if step % EMPTY_CACHE == 0:
                torch.cuda.empty_cache()
        return losses

    return watched(job, carried_out)


def trl_default(job: Job, steps: int, **changes: Any) -> Pace:
    """SFTTrainer as it is by itself but for the batch size, and for `changes` of its settings."""
    from trl import SFTConfig, SFTTrainer

    common: dict[str, Any] = {
        "max_steps": steps,
        "per_device_train_batch_size": job.run.train.batch_size,
        "learning_rate": job.run.method.learning_rate,
        "use_cpu": job.device == "cpu",
        "max_length": None,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_strategy": "no",
    }

    def carried_out(folder: Path) -> None:
        settings = SFTConfig(output_dir=str(folder), **(common | changes))
        SFTTrainer(job.model, settings, train_dataset=job.rows, processing_class=job.tokenizer).train()
        job.model.gradient_checkpointing_disable()

    return watched(job, lambda: in_scratch(carried_out))


def _in_order(job: Job, steps: int) -> Iterator[Any]:
    size, rows = job.run.train.batch_size, len(job.rows)
    starts = range(0, rows - size + 1, size)
    for step in range(steps):
        start = starts[step % len(starts)]
        yield [job.rows[i] for i in range(start, start + size)]


def _bucketed(job: Job, steps: int) -> Iterator[list[dict[str, Any]]]:
    """Batches of twenty batches' rows in file order, sorted from long to short."""
    size, done = job.run.train.batch_size, 0
    while True:
        for start in range(0, len(job.rows), size * BUCKET):
            bucket = [job.rows[i] for i in range(start, min(start + size * BUCKET, len(job.rows)))]
            bucket.sort(key=lambda row: len(row["input_ids"]), reverse=True)
            for place in range(0, len(bucket), size):
                yield bucket[place : place + size]
                done += 1
                if done == steps:
                    return


def _loss(job: Job, part: list[dict[str, Any]], collate: PadRight) -> Tensor:
    """The loss of a batch, as the method's objective has it."""
    if "prompt_ids" not in part[0]:
        batch = {key: value.to(job.device) for key, value in collate(part).items()}
        return -label_log_probs(job.model, batch).mean()
    sides = [(row["prompt_ids"], row[f"{side}_ids"]) for side in ("chosen", "rejected") for row in part]
    batch = collate([training_row(Tokens(prompt, answer)) for prompt, answer in sides])
    batch = {key: value.to(job.device) for key, value in batch.items()}
    known = [row[f"ref_{side}_logps"] for side in ("chosen", "rejected") for row in part]
    tokens = (batch["labels"] != IGNORED).sum(1)
    pairs = Pairs(completion_log_probs(job.model, batch), tokens, torch.tensor(known, device=job.device))
    return preference_loss(job.run.method, pairs)

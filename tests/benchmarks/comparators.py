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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from bench.data.tokens import IGNORED, PadRight, Tokens, training_row
from bench.models.logits import completion_log_probs, label_log_probs
from bench.records import store
from bench.train import loop
from bench.train.losses import Pairs, preference_loss
from tests.benchmarks.jobs import Job, in_scratch
from tests.benchmarks.turns import begins

WARMUP = 2  # steps that do not count
BUCKET = 20  # batches, of which peft-style sorts the rows by length
EMPTY_CACHE = 10  # steps


@dataclass
class Pace:
    """The steps of one training.

    Attributes:
        began: when each forward pass began, seconds after the first.
        tokens: that were no padding in each.
        losses: of the steps, if the loop tells them.
    """

    began: list[float]
    tokens: list[int]
    losses: list[float]

    @property
    def tokens_per_s(self) -> float:
        """Non-padding tokens per second, from the end of the warm-up to the beginning of the last step."""
        return sum(self.tokens[WARMUP:-1]) / (self.began[-1] - self.began[WARMUP])


def watched(job: Job, train: Callable[[], list[float] | None]) -> Pace:
    """Train, and see what becomes of the model meanwhile; the clock is the device's, and nothing waits for it."""
    entered: list[tuple[Any, Tensor]] = []

    def enters(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
        begins()
        entered.append((_now(job.device), (kwargs["input_ids"] != job.tokenizer.pad_token_id).sum()))

    job.model.train()
    hook = job.model.register_forward_pre_hook(enters, with_kwargs=True)
    try:
        losses = train() or []
    finally:
        hook.remove()
    return Pace([_seconds(entered[0][0], moment) for moment, _ in entered], [int(n) for _, n in entered], losses)


def _now(device: str) -> Any:
    if device != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _seconds(began: Any, ended: Any) -> float:
    if isinstance(began, float):
        return ended - began
    ended.synchronize()
    return float(began.elapsed_time(ended)) / 1000


def ours(job: Job, steps: int, **train: Any) -> Pace:
    """tunebench's loop."""
    run = job.again(steps, **train)

    def carried_out(folder: Path) -> list[float]:
        arguments = (run, job.model, job.tokenizer, job.rows, run.train.precision, job.device, folder)
        loop.train(*arguments, send=lambda _: None)
        return [line["loss"] for line in store.read_lines(folder / store.STEPS)]

    return watched(job, lambda: in_scratch(carried_out))


def bare(job: Job, steps: int) -> Pace:
    """The same loss, batches in the order of the rows, made beforehand, the same optimizer, and nothing else."""
    parameters = job.parameters()
    losses_of = [_loss(job, part) for part in _in_order(job, steps)]
    optimizer = torch.optim.AdamW(parameters, job.run.method.learning_rate, weight_decay=0.0, fused=True)

    def carried_out() -> list[float]:
        losses = []
        for compute in losses_of:
            with job.autocast():
                loss = compute()
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
            with job.autocast():
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
    """TRL's trainer as it is by itself but for the batch size, and for `changes` of its settings."""
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    pairs = "prompt_ids" in job.rows.column_names
    settings, trainer, rows = (DPOConfig, DPOTrainer, _texts(job)) if pairs else (SFTConfig, SFTTrainer, job.rows)
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
        arguments = settings(output_dir=str(folder), **(common | changes))
        trainer(job.model, args=arguments, train_dataset=rows, processing_class=job.tokenizer).train()
        job.model.gradient_checkpointing_disable()

    return watched(job, lambda: in_scratch(carried_out))


def _texts(job: Job) -> Dataset:
    """Pairs as TRL tokenises them itself."""
    columns = ("prompt", "completion", "rejected")
    rows = [[str(getattr(example, column)) for column in columns] for example in job.examples]
    return Dataset.from_list([dict(zip(("prompt", "chosen", "rejected"), row, strict=True)) for row in rows])


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


def _loss(job: Job, part: list[dict[str, Any]]) -> Callable[[], Tensor]:
    """What computes the loss of a batch, as the method's objective has it."""
    pairs = "prompt_ids" in part[0]
    if pairs:
        sides = [(row["prompt_ids"], row[f"{side}_ids"]) for side in ("chosen", "rejected") for row in part]
        known = [row[f"ref_{side}_logps"] for side in ("chosen", "rejected") for row in part]
        part = [training_row(Tokens(prompt, answer)) for prompt, answer in sides]
    batch = {key: value.to(job.device) for key, value in PadRight(job.tokenizer.pad_token_id)(part).items()}
    if not pairs:
        return lambda: -label_log_probs(job.model, batch).mean()
    tokens, reference = (batch["labels"] != IGNORED).sum(1), torch.tensor(known, device=job.device)
    return lambda: preference_loss(job.run.method, Pairs(completion_log_probs(job.model, batch), tokens, reference))

"""Train a model for one run: rows, trainer, steps, and the summary of what was measured."""

import random
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn
from transformers import PrinterCallback

from bench.config import Run
from bench.data import known
from bench.data.example import Example
from bench.data.tokens import PAIR, Tokens, class_row, mismatched_row, preference_row, sizes, tokenise, training_row
from bench.measure.clock import quantiles
from bench.objective import of
from bench.records.schema import Training
from bench.records.store import CHECKPOINTS, STEPS, write_lines
from bench.train import checkpoints, ranks
from bench.train.budget import total_steps
from bench.train.compiled import compiled
from bench.train.meter import Send, StepMeter
from bench.train.packing import packed
from bench.train.reference import answers, precomputes, with_reference
from bench.train.trainers import AfterStep, accumulation, settings, trainer_class

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "answers",
    "configured_micro_batch",
    "lengths",
    "precomputes_reference",
    "rows",
    "supervised",
    "train",
    "with_reference",
]
TOKENISED = 1000  # examples at once


def rows(
    run: Run,
    examples: Sequence[Example],
    tokenizer: Any,
    kind: str = "causal",
    choices: Sequence[str] = (),
    key: str = "",
) -> "Dataset":
    """The training rows of the run's objective, for a model of this kind.

    Args:
        run: its objective decides the columns.
        examples: of the training split, with text prompts.
        tokenizer: of the base model.
        kind: of the model.
        choices: a classifier's classes.
        key: of the task (`bench.data.known`), under which the rows are kept; "": they are not.
    """
    objective, read_by = of(run.method), known.tokenizer_key(tokenizer)
    seed = run.seed if objective.mismatched else None
    depends = (read_by, kind, list(choices), objective.mismatched, objective.preferences, seed)
    return known.dataset(key if read_by else "", depends, lambda: _rows(run, examples, tokenizer, kind, choices))


def _rows(
    run: Run, examples: Sequence[Example], tokenizer: Any, kind: str, choices: Sequence[str]
) -> Iterator[dict[str, list[int]]]:
    objective, length = of(run.method), run.task.max_length
    if objective.mismatched and kind != "classifier":
        tokens = tokenise(examples, tokenizer, length)
        others = _others(len(tokens), run.seed)
        yield from (mismatched_row(t, tokens[i], length) for t, i in zip(tokens, others, strict=True))
        return
    label = {choice: i for i, choice in enumerate(choices)}
    for example, found in _tokenised(examples, tokenizer, length, kind):
        if kind == "classifier":
            yield class_row(found, label[example.completion])
        elif objective.preferences:
            yield preference_row(found)
        else:
            yield training_row(found, kind)


def _tokenised(
    examples: Sequence[Example], tokenizer: Any, max_length: int, kind: str
) -> Iterator[tuple[Example, Tokens]]:
    """Each example with its tokens, some examples at a time."""
    rest = iter(examples)
    while part := list(islice(rest, TOKENISED)):
        yield from zip(part, tokenise(part, tokenizer, max_length, kind), strict=True)


def _others(count: int, seed: int) -> list[int]:
    """For every row another one, each once: its neighbour in a random order, as files are often sorted."""
    order = random.Random(seed).sample(range(count), count)
    found = [0] * count
    for row, other in zip(order, order[1:] + order[:1], strict=True):
        found[row] = other
    return found


class _RightAnswers(Sequence[dict[str, list[int]]]):
    """Pairs, read as the supervised rows of their right answers."""

    def __init__(self, pairs: Any) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: Any) -> Any:
        pair = self._pairs[index]
        return training_row(Tokens(pair["prompt_ids"], pair["chosen_ids"]))


def supervised(dataset: Any) -> Any:
    """The rows as `input_ids` and `labels`, whatever the objective: what an adapter is started from."""
    return _RightAnswers(dataset) if "prompt_ids" in dataset[0] else dataset


def lengths(dataset: "Dataset") -> np.ndarray:
    """Non-padding tokens that a step sees of each row; a pair counts its prompt twice, as it is read twice."""
    if "prompt_ids" not in dataset.column_names:
        return sizes(dataset, "input_ids")
    prompt, right, wrong = (sizes(dataset, name) for name in PAIR)
    return 2 * prompt + right + wrong


def precomputes_reference(run: Run, dataset: "Dataset") -> bool:
    """Whether the log-probabilities under the reference, where an objective needs them, are computed beforehand."""
    return precomputes(run, dataset, lengths(dataset))


def train(
    run: Run,
    model: nn.Module,
    tokenizer: Any,
    dataset: "Dataset",
    precision: str,
    device: str,
    folder: Path,
    send: Send,
    kind: str = "causal",
    micro_batch_size: int | None = None,
) -> Training:
    """Train `model` in place within the run's budget, from its newest checkpoint if there is one.

    Args:
        run: its method decides the objective and the learning rate.
        model: what `Method.adapt` returned.
        tokenizer: of the base model.
        dataset: what `rows` returned.
        precision: `float32` or `bfloat16`, of the computation.
        device: `cpu`, `cuda` or `mps`.
        folder: of the run; takes the steps, as JSON lines, and checkpoints.
        send: takes progress events.
        kind: of the model.
        micro_batch_size: examples at once in one process; by default what the run says.

    Raises:
        Diverged: the loss is not finite, or has exploded.
        KeyboardInterrupt: the user asked to stop; the step at work is finished and, with `train.save_every`, saved.
    """
    assert run.method is not None
    first = ranks.rank() == 0
    micro_batch_size = micro_batch_size or configured_micro_batch(run)
    kept = folder / CHECKPOINTS
    told = checkpoints.steps(folder / STEPS) if run.train.save_every else []
    resumed = checkpoints.newest(kept, len(told))
    start = 0 if resumed is None else checkpoints.number(resumed)
    if first:
        write_lines(folder / STEPS, map(vars, told[:start]))
    meter = StepMeter(
        device=device,
        settings=run.train,
        total_steps=total_steps(run.budget, lengths(dataset), run.train.batch_size),
        seconds=run.budget.seconds,
        warmup_steps=run.measure.warmup_steps,
        log=folder / STEPS if first else None,
        send=send,
        steps=told[:start],
    )
    with tempfile.TemporaryDirectory(prefix="tunebench-") as scratch, meter.interrupt.awaited():
        output = str(kept) if run.train.save_every else scratch
        arguments = settings(run, meter, output, precision, device, micro_batch_size)
        trainer = trainer_class(run.method.objective, kind)(run, meter, arguments, model, dataset, tokenizer)
        trainer.remove_callback(PrinterCallback)
        trainer.pop_callback(meter)  # marks come first: the meter may end the training when it has been saved
        trainer.add_callback(checkpoints.Keeper(resumed, folder / STEPS))
        trainer.add_callback(AfterStep(run.method, meter.progress))
        trainer.add_callback(meter)
        try:
            with packed(model, run.train.packing), compiled(model, run.train.compile):
                trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
        finally:
            meter.flush()
    found = summary(run, meter, model, precision, trainer.optimizer_name)
    found.micro_batch_size, found.resumed_at = micro_batch_size, start or None
    found.processes, found.gradient_accumulation = ranks.world(), accumulation(run, micro_batch_size)
    return found


def configured_micro_batch(run: Run) -> int:
    """Examples at once in one process, as the run has them."""
    return run.train.batch_size // (run.train.gradient_accumulation * ranks.world())


def summary(run: Run, meter: StepMeter, model: nn.Module, precision: str, optimizer: str) -> Training:
    """What the steps say; times leave out the warm-up, unless the whole training is no longer than it."""
    assert run.method is not None
    steps = meter.steps
    warmup = run.measure.warmup_steps if len(steps) > run.measure.warmup_steps else 0
    timed = steps[warmup:]
    seconds = sum(step.seconds for step in timed)
    losses = [step.loss for step in steps]
    tail = losses[-max(1, len(losses) // 10) :]
    return Training(
        steps=len(steps),
        warmup_steps=warmup,
        examples=sum(step.examples for step in steps),
        tokens=sum(step.tokens for step in steps),
        trained_tokens=sum(step.trained_tokens for step in steps),
        seconds=sum(step.seconds for step in steps),
        step_s=quantiles([step.seconds for step in timed]),
        tokens_per_s=sum(step.tokens for step in timed) / seconds,
        trained_tokens_per_s=sum(step.trained_tokens for step in timed) / seconds,
        first_loss=losses[0],
        final_loss=sum(tail) / len(tail),
        learning_rate=run.method.learning_rate,
        default_learning_rate=type(run.method)().learning_rate,
        optimizer=optimizer,
        precision=precision,
        trainable_dtype=str(next(p.dtype for p in model.parameters() if p.requires_grad)).removeprefix("torch."),
        loss=run.train.loss,
        foreign_cpu_cores=meter.foreign.cores(),
    )

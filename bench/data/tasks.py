"""From a task's configuration to its data."""

import importlib
import random
from collections.abc import Sequence
from dataclasses import replace

from bench.config import Data, Task
from bench.data import formats, read, shots, splits
from bench.data.example import Example, TaskData
from bench.data.leakage import leaks
from bench.data.passages import passages
from bench.data.rows import DataError
from bench.data.spool import paired, spool
from bench.method import did_you_mean
from bench.objective import OBJECTIVES

GENERATED = {
    "pydoc": "bench.data.pydoc",
    "arithmetic": "bench.data.arithmetic",
    "sorting": "bench.data.sorting",
    "fixed": "bench.data.fixed",
}
SPLITS = ("train", "validation", "test")


def load(task: Task, settings: Data | None = None) -> TaskData:
    """Load a task: its splits, few-shot prompts, the configured sizes, and what of training the others contain.

    Raises:
        ValueError: an unknown source, an empty split, or rows that cannot be used.
    """
    settings = settings or Data()
    if task.source in GENERATED:
        data = importlib.import_module(GENERATED[task.source]).load(task)
        data = replace(data, kind=task.kind)
    elif task.source in ("hub", "file"):
        data = _read(task, settings)
    else:
        known = (*GENERATED, "hub", "file")
        raise ValueError(f"task.source: there is no {task.source!r}{did_you_mean(task.source, known)}")
    empty = [name for name in SPLITS if not getattr(data, name)]
    if empty:
        raise ValueError(f"task={task.name}: the {empty[0]} split is empty{_advice(empty[0], settings)}")
    sizes = {"train": task.train_examples, "validation": task.validation_examples, "test": task.test_examples}
    data = data.each_split(lambda name, part: _cut(part, sizes[name], task))
    overlaps = leaks(data.train, {"validation": data.validation, "test": data.test}, data.instruction)
    return _with_shots(replace(data, leaked=overlaps), task)


def _advice(name: str, settings: Data) -> str:
    return f"; give data.{name}, or more rows in data.train" if settings.train and name != "train" else ""


def _read(task: Task, settings: Data) -> TaskData:
    files: dict[str, str] = {}
    found = {name: read.split(name, task, settings, files) for name in SPLITS}
    train = found["train"]
    assert train is not None  # a run without data.train is refused before, and a task of the Hub has a training split
    kind = formats.KIND[train.format] if task.kind == "auto" and train.format else task.kind
    choices = _choices(task, train.examples) if kind == "classification" else ()
    for name, part in found.items():
        if part is not None and choices:
            _label(part, choices, task.seed, settings.on_error, name)
    taken = _taken_from_train(train.examples, kind, found, settings)
    examples = {name: taken[name] if part is None else part.examples for name, part in found.items()}
    examples["train"] = taken["train"]
    skipped = {f"{name}: {why}": n for name, part in found.items() if part for why, n in part.skipped.items()}
    instruction = task.instruction or task.system
    return TaskData(
        instruction,
        examples["train"],
        examples["validation"],
        examples["test"],
        choices=choices,
        kind=kind,
        skipped=skipped,
        files=files,
    )


def _taken_from_train(
    train: Sequence[Example], kind: str, found: dict[str, read.Read | None], settings: Data
) -> dict[str, Sequence[Example]]:
    """Training examples set apart, by hash, for the splits that have no rows of their own."""
    validation = settings.validation_share if found["validation"] is None else 0.0
    test = settings.test_share if found["test"] is None else 0.0
    if kind == "text" and validation + test > 0:
        train = tuple(passages(train))  # a single long document has something for every split
    return splits.split(train, validation, test)


def _choices(task: Task, train: Sequence[Example]) -> tuple[str, ...]:
    if task.choices:
        return tuple(choice if choice[:1].isspace() else f" {choice}" for choice in task.choices)
    return tuple(sorted({e.completion for e in train}))


def _label(part: read.Read, choices: Sequence[str], seed: int, on_error: str, name: str) -> None:
    """Hold a split to the choices, and put a wrong answer beside every right one.

    So methods that learn from pairs learn the same task.
    """

    def labelled(example: Example) -> Example | DataError:
        error = formats.label_error(example, choices)
        if error is not None:
            return error
        others = [choice for choice in choices if choice != example.completion]
        if example.rejected is not None or not others:
            return example
        return replace(example, rejected=random.Random(f"{seed}:{example.id}").choice(others))

    kept, skipped = read.usable(map(labelled, part.examples), on_error, name)
    part.examples = kept
    part.skipped = {why: part.skipped.get(why, 0) + skipped.get(why, 0) for why in part.skipped | skipped}


def _with_shots(data: TaskData, task: Task) -> TaskData:
    if not task.shots:
        return data
    chosen, train = shots.draw(data.train, task.shots, task.seed)
    return replace(data, train=train).each_split(lambda _, part: shots.with_shots(part, chosen))


def _cut(examples: Sequence[Example], size: int, task: Task) -> Sequence[Example]:
    """`size` examples, or all; those of one's own files are drawn, as files are often sorted by something."""
    if not 0 < size < len(examples):
        return examples
    if task.source in GENERATED:
        return examples[:size]
    order = random.Random(task.seed).sample(range(len(examples)), len(examples))
    return spool(examples[i] for i in sorted(order[:size]))


def unsuited(data: TaskData, kind: str, objective: str) -> str | None:
    """None, or the reason in words why a model of this kind, or this objective, cannot learn from this data."""
    if kind == "classifier" and not data.choices:
        return f"a classifier needs a task with fixed answers, and this one is of kind {data.kind}"
    if kind == "seq2seq" and data.kind == "text":
        return "a model with an encoder needs prompts, and plain text has none"
    if OBJECTIVES[objective].preferences and not paired(data.train):
        return "the task has no rejected answers to learn from"
    return None

"""Splits of examples that seeded code makes up: as many as asked for, none twice, the same on every machine."""

import hashlib
import random
from collections.abc import Callable

from bench.config import Task
from bench.data.example import Example, TaskData

SIZES = {"train": 4000, "validation": 300, "test": 500}  # where the task leaves a size at 0
_PATIENCE = 1000  # draws in a row that were seen before: by then the generator has run dry

Draw = Callable[[random.Random], tuple[str, str, str]]


def splits(task: Task, instruction: str, draw: Draw) -> TaskData:
    """Fill the three splits with what `draw` makes: question, right answer, wrong answer.

    Each split has a random stream of its own, so a larger size only adds examples behind those of a smaller
    one. No prompt occurs twice, in whatever split; the test split is filled first and never gives way.

    Raises:
        ValueError: a split is larger than what the generator can make.
    """
    seen: set[str] = set()
    filled = {}
    for split in ("test", "validation", "train"):
        size = getattr(task, f"{split}_examples") or SIZES[split]
        stream = random.Random(f"{task.source}/{task.seed}/{split}")
        examples: list[Example] = []
        repeats = 0
        while len(examples) < size:
            example = _example(instruction, *draw(stream))
            if example.id not in seen:  # the hash of its prompt
                seen.add(example.id)
                examples.append(example)
                repeats = 0
            elif (repeats := repeats + 1) == _PATIENCE:
                raise ValueError(f"task.{split}_examples must be <= {len(examples)} here, got {size}")
        filled[split] = tuple(examples)
    return TaskData(instruction, filled["train"], filled["validation"], filled["test"])


def _example(instruction: str, question: str, right: str, wrong: str) -> Example:
    prompt = f"{instruction}\n\n{question}\n\nAnswer:"
    return Example(hashlib.sha256(prompt.encode()).hexdigest()[:16], prompt, f" {right}", f" {wrong}")

"""Tasks `fixed`: rows of exactly `task.max_length` tokens, to measure memory and speed at one shape.

A row is letters without meaning, each a token of its own with the space before it in every common vocabulary; half
of a row is its answer. Where a tokenizer makes more of a letter the prompt is cut in front as any other, so the row
has the same length. The worse answer is the better one in another order, and so as long.
"""

import hashlib
import random

from bench.config import Task
from bench.data.example import Example, TaskData

INSTRUCTION = "Go on with the letters."
LETTERS = "abcdefghijklmnoprstuvwxyz"  # no q, which the embedded model's vocabulary has not with a space before it


def load(task: Task) -> TaskData:
    """The task's splits, of the configured sizes (one row where a size is 0); `task.seed` decides what they hold."""
    train, validation, test = (_rows(task, split) for split in ("train", "validation", "test"))
    return TaskData(INSTRUCTION, train, validation, test)


def _rows(task: Task, split: str) -> tuple[Example, ...]:
    stream = random.Random(f"{task.source}/{task.seed}/{split}")
    return tuple(_row(stream, task.max_length) for _ in range(getattr(task, f"{split}_examples") or 1))


def _row(stream: random.Random, length: int) -> Example:
    """One row; the end token takes one of its places."""
    answer = stream.choices(LETTERS, k=length // 2 - 1)
    prompt = " ".join(stream.choices(LETTERS, k=length - length // 2))
    right, wrong = (" " + " ".join(letters) for letters in (answer, stream.sample(answer, len(answer))))
    return Example(hashlib.sha256(prompt.encode()).hexdigest()[:16], prompt, right, wrong)

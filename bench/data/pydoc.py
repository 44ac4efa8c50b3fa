"""Task `pydoc`: which module of the Python standard library does a docstring belong to?

Topic classification over sixteen modules, in instruction form, on real text that every interpreter has.
The module's name is the completion, and a wrong module the rejected one, so that supervised and preference
methods learn the same task and are scored by the same metrics.
"""

import random

from bench.config import Task
from bench.data import stdlib
from bench.data.example import Example, TaskData

INSTRUCTION = "Name the module of the Python standard library that this docstring belongs to."
_DOCSTRING_CHARACTERS = 240  # enough for the first sentences, and every example stays below 128 tokens


def load(task: Task) -> TaskData:
    """The task's splits, in a fixed order that does not depend on where the library's files lie."""
    splits: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    shown = "\n".join(d.words for d in stdlib.task_docstrings() if d.split == "train")
    for docstring in stdlib.task_docstrings():
        if docstring.split == "train" or docstring.words not in shown:  # some are the beginning of a longer one
            splits[docstring.split].append(_example(docstring, task.seed))
    for examples in splits.values():
        examples.sort(key=lambda e: e.id)
        random.Random(task.seed).shuffle(examples)
    return TaskData(
        INSTRUCTION,
        tuple(splits["train"]),
        tuple(splits["validation"]),
        tuple(splits["test"]),
        choices=tuple(f" {module}" for module in stdlib.MODULES),
    )


def _example(docstring: stdlib.Docstring, seed: int) -> Example:
    key = f"{docstring.path}:{docstring.name}:{docstring.lines[0]}"
    wrong = random.Random(f"{seed}:{docstring.text}").choice([m for m in stdlib.MODULES if m != docstring.module])
    return Example(
        id=key,
        prompt=f"{INSTRUCTION}\n\n{_beginning(docstring.text)}\n\nThis docstring belongs to the module:",
        completion=f" {docstring.module}",
        rejected=f" {wrong}",
    )


def _beginning(text: str) -> str:
    if len(text) <= _DOCSTRING_CHARACTERS:
        return text
    return text[:_DOCSTRING_CHARACTERS].rsplit(maxsplit=1)[0] + " ..."

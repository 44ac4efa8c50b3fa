"""From a task's configuration to its data."""

import importlib
from dataclasses import replace

from bench.config import Task
from bench.data.example import TaskData
from bench.method import did_you_mean

SOURCES = {
    "pydoc": "bench.data.pydoc",
    "arithmetic": "bench.data.arithmetic",
    "sorting": "bench.data.sorting",
    "hub": "bench.data.hub",
}


def load(task: Task) -> TaskData:
    """Load a task and cut its splits to the configured sizes.

    Raises:
        ValueError: an unknown source, or an empty split.
    """
    if task.source not in SOURCES:
        raise ValueError(f"task.source: there is no {task.source!r}{did_you_mean(task.source, SOURCES)}")
    data = importlib.import_module(SOURCES[task.source]).load(task)
    data = replace(
        data,
        train=data.train[: task.train_size or None],
        validation=data.validation[: task.validation_size or None],
        test=data.test[: task.test_size or None],
    )
    empty = [name for name in ("train", "validation", "test") if not getattr(data, name)]
    if empty:
        raise ValueError(f"task={task.name}: the {empty[0]} split is empty")
    return data

"""The parts of a record's configuration that tables read; everything else in it may be of any kind.

`Record.config` holds what a run was configured with, by whatever version and of whatever method. What is read of it has
a kind all the same, so that a file that is no record of tunebench is named when it is read.
"""

from dataclasses import dataclass
from typing import Any

from bench.records.build import builder


@dataclass
class Model:
    """The model as its record's caption tells it."""

    name: str | None = None
    path: str | None = None
    revision: str | None = None
    weights: str | None = None
    dtype: str | None = None


@dataclass
class Task:
    """The task, of which tables know little but its name."""

    name: str | None = None


@dataclass
class Budget:
    """Limits of a training; 0 is none."""

    name: str | None = None
    steps: float | None = None
    tokens: float | None = None
    epochs: float | None = None
    seconds: float | None = None


@dataclass
class Config:
    """The parts; None or absent where there is none, as the method of the base."""

    model: Model | None = None
    task: Task | None = None
    budget: Budget | None = None
    method: dict[str, Any] | None = None
    train: dict[str, Any] | None = None
    measure: dict[str, Any] | None = None


@dataclass
class _Whole:
    config: Config


def check(config: dict[str, Any]) -> None:
    """Refuse a configuration of which a part that is read is of the wrong kind.

    Raises:
        ValueError: with the key, what it must be, and what was seen.
    """
    builder(_Whole)({"config": config})

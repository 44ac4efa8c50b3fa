"""Short trainings of tiny models, and what they wrote."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from bench.config import Budget, Measure, Run, Task, Train
from bench.data.example import Example
from bench.method import Method
from bench.records import store
from bench.records.schema import Training

WORDS = ("file", "lines", "words", "text", "module", "docstring")
EXAMPLES = tuple(
    Example(
        str(i), f"Return the {WORDS[i % 6]} of {'the ' * (i % 4)}text {i}", f" {WORDS[i % 5]} {i}", f" {WORDS[i % 4]}"
    )
    for i in range(24)
)


@dataclass
class Fitted:
    """A finished training."""

    run: Run
    model: Any
    training: Training
    lines: list[dict[str, Any]]
    events: list[dict[str, Any]]

    @property
    def losses(self) -> list[float]:
        return [line["loss"] for line in self.lines]


@pytest.fixture
def examples() -> tuple[Example, ...]:
    """24 examples of different lengths, each with a rejected answer."""
    return EXAMPLES


@pytest.fixture
def make_run() -> Callable[..., Run]:
    """Makes runs of five steps of batch 4 in float32; keywords go to the part that has them."""

    def make(method: Method, seed: int = 0, warmup_steps: int = 0, **settings: Any) -> Run:
        limits = {key: settings.pop(key) for key in ("steps", "tokens", "epochs", "seconds") if key in settings}
        common = {"batch_size": 4, "precision": "float32", "schedule": "constant", "warmup": 0.0}
        return Run(
            method,
            task=Task(name="t", max_length=64),
            budget=Budget(**(limits or {"steps": 5})),
            train=Train(**(common | settings)),
            measure=Measure(warmup_steps=warmup_steps),
            seed=seed,
        )

    return make


@pytest.fixture
def fit(adapted: Callable[..., Any], make_run: Callable[..., Run], tmp_path: Path) -> Callable[..., Fitted]:
    """Trains a tiny model with a method; `prepare` is given the adapted model first, `reference` is set for pairs."""
    from bench.train import loop

    def start(
        method: Method,
        *,
        architecture: str = "llama",
        rows: tuple[Example, ...] = EXAMPLES,
        prepare: Callable[[nn.Module], object] = lambda model: None,
        reference: bool = False,
        **settings: Any,
    ) -> Fitted:
        run = make_run(method, **settings)
        folder, events = tmp_path / f"{len(list(tmp_path.iterdir()))}", []
        folder.mkdir()
        log = folder / store.STEPS
        _, tokenizer = base = adapted(architecture, None)
        dataset = loop.rows(run, rows, tokenizer)
        if reference:
            dataset = loop.with_reference(base[0], dataset, tokenizer, 8)
        model, _ = adapted(architecture, method, noise=0.0)
        prepare(model)
        try:
            training = loop.train(run, model, tokenizer, dataset, run.train.precision, "cpu", folder, events.append)
        finally:
            start.lines = store.read_lines(log) if log.exists() else []
        return Fitted(run, model, training, start.lines, events)

    return start

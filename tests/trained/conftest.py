"""Finished runs on the tiny model, each done once for all tests here."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config import Budget, Launch, Measure, Model, Run, Task, Train
from bench.method import Method
from bench.models import locate
from bench.records import store
from bench.records.schema import Record
from bench.trained.find import Finished, finished
from bench.worker import work

TASK = Task(
    name="sums", source="arithmetic", kind="generation", train_examples=16, validation_examples=3, test_examples=3,
    max_length=128, max_new_tokens=3, preferences=True,
)  # fmt: skip
RATE = 0.05  # at which six steps move even a tiny model visibly


@pytest.fixture(scope="session")
def make_run(tiny_llama: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Makes runs of six steps on the tiny model."""
    results = tmp_path_factory.mktemp("results")
    model = Model(name="tiny", path=tiny_llama, dtype="float32")
    model.content = locate.content(model)

    def make(method: Method | None, seed: int = 0, start: Run | None = None, precision: str = "float32") -> Run:
        return Run(
            method,
            model=model,
            task=TASK,
            budget=Budget(name="six", steps=6),
            train=Train(batch_size=4, precision=precision),
            measure=Measure(warmup_steps=1, forgetting=False),
            launch=Launch(predict=False, keep_model=True),
            seed=seed,
            results=str(results),
            start=start,
        )

    return make


@pytest.fixture(scope="session")
def carry_out() -> Callable[[Run], tuple[Record, Path]]:
    """Does a run, once in the whole session, and gives its record and its folder."""

    def do(run: Run) -> tuple[Record, Path]:
        folder = store.run_folder(Path(run.results), "cpu-test", run.run_id())
        if not (folder / store.RECORD).exists():
            folder.mkdir(parents=True)
            work(run, folder, lambda event: None)
        return store.read(folder / store.RECORD), folder

    return do


@pytest.fixture(scope="session")
def trained(make_run: Callable[..., Run], carry_out: Callable[[Run], tuple[Record, Path]]) -> Callable[..., Finished]:
    """A finished run of a method."""
    return lambda method, **more: finished(str(carry_out(make_run(method, **more))[1]))

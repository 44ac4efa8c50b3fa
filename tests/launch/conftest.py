import io
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from bench.config import Launch, Run
from bench.launch import launch
from bench.launch.view import View
from bench.method import get
from bench.records.schema import Record
from tests.launch.faults import HERE, Faults


class Recorder(View):
    """A view that keeps what it is told, and does `react` when a phase begins."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self.events: list[dict[str, Any]] = []
        self.react: Callable[[], None] = lambda: None
        super().__init__(self.text)

    def event(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if event["event"] == "phase":
            self.react()


@pytest.fixture
def view() -> Recorder:
    return Recorder()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Makes runs whose results lie in `tmp_path`; `method=None` is a base run, keywords go to `Launch`."""

    def make(method: str | None = None, seed: int = 0, start: str = "forkserver", **settings: Any) -> Run:
        chosen = None if method is None else get(method)()
        return Run(chosen, seed=seed, results=str(tmp_path), launch=Launch(start=start, **settings))

    return make


@pytest.fixture
def go(view: Recorder, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Record]]:
    """Launches runs with a fake worker."""
    monkeypatch.syspath_prepend(Path(__file__).parent)

    def start(runs: list[Run], worker: str, grace: float = 10.0) -> list[Record]:
        return launch(runs, view, worker=f"fake_workers:{worker}", preload="fake_workers", grace=grace)

    return start


@pytest.fixture
def faults(tiny_llama, tmp_path, view, monkeypatch) -> Faults:
    monkeypatch.syspath_prepend(HERE)
    return Faults(tiny_llama, tmp_path / "results", view)


@pytest.fixture(autouse=True, scope="module")
def _own_fork_server() -> Iterator[None]:
    """A fork server imports once what the first launch asks for; each file of tests gets what its own asks for."""
    yield
    forkserver._forkserver._stop()

"""What a sweep shows on the terminal: a live line for the run at work, one lasting line for each that ended.

Where the output is no terminal there are plain lines only, one when a run starts and one when it ends. All of it
goes to stderr, so that stdout carries the table alone.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from bench.config import Run
from bench.records.schema import Record, Status

REFRESH = 2  # drawings of the live line per second; more would take time from the run that is measured


class View:
    """Plain lines, and the base of the live view.

    Attributes:
        interrupted: whether Ctrl-C ended the sweep; set by the launcher.
    """

    def __init__(self, stream: TextIO) -> None:
        self.interrupted = False
        self._stream = stream
        self._total = self._number = 0
        self._began = 0.0
        self._durations: list[float] = []

    @contextlib.contextmanager
    def sweep(self, total: int, done: int) -> Iterator[None]:
        """A sweep of `total` runs, beside `done` that are done already."""
        self._total, self._number = total, 0
        if done:
            self.note(f"{done} run{'s are' if done > 1 else ' is'} done already")
        yield

    def start(self, run: Run) -> None:
        """A run begins."""
        self._number += 1
        self._began = time.monotonic()
        self._started(f"{self._number}/{self._total} {run.run_id().rpartition('-')[0]}")

    def event(self, event: dict[str, Any]) -> None:
        """The worker says how far it is; events are phase, step and evaluate."""

    def end(self, record: Record) -> None:
        """A run has ended."""
        seconds = time.monotonic() - self._began
        self._durations.append(seconds)
        self.note(f"{self._number}/{self._total} {record.run_id}  {outcome(record)}  {duration(seconds)}{self._left()}")

    def note(self, text: str) -> None:
        """Show a line that stays."""
        print(text, file=self._stream, flush=True)

    def _started(self, heading: str) -> None:
        self.note(f"{heading}  started")

    def _left(self) -> str:
        """The time that the runs after this one will take, if they take as long as those before, in words."""
        waiting = self._total - self._number
        if not waiting or not self._durations:
            return ""
        return f", about {duration(waiting * sum(self._durations) / len(self._durations))} left"


class LiveView(View):
    """A view for a terminal."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}", markup=False), TextColumn("{task.fields[doing]}", markup=False))
        bar = (BarColumn(bar_width=20), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
        self._console = Console(file=stream)
        self._progress = Progress(*columns, *bar, console=self._console, refresh_per_second=REFRESH, transient=True)
        self._task = self._progress.add_task("", visible=False, doing="", left="")

    @contextlib.contextmanager
    def sweep(self, total: int, done: int) -> Iterator[None]:
        """Keep the live line on the screen until the sweep ends."""
        with super().sweep(total, done), self._progress:
            yield

    def event(self, event: dict[str, Any]) -> None:
        """Show where the run stands."""
        share = event.get("budget") if event["event"] == "step" else None
        if event["event"] == "evaluate" and event["of"]:
            share = event["done"] / event["of"]
        self._progress.update(self._task, doing=doing(event), completed=share or 0.0, total=1.0 if share else None)

    def end(self, record: Record) -> None:
        """Take the live line away and show the lasting one."""
        self._progress.update(self._task, visible=False)
        super().end(record)

    def note(self, text: str) -> None:
        """Show a line that stays, above the live one."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _started(self, heading: str) -> None:
        self._progress.reset(
            self._task, total=None, description=heading, visible=True, doing="starting", left=self._left().lstrip(", ")
        )


def open_view(stream: TextIO | None = None) -> View:
    """The view that fits `stream`, by default stderr."""
    stream = stream or sys.stderr
    return LiveView(stream) if stream.isatty() else View(stream)


def doing(event: dict[str, Any]) -> str:
    """An event in words, such as `train 120/200  loss 1.23  5,100 tokens/s`."""
    if event["event"] == "phase":
        return str(event["name"])
    if event["event"] == "evaluate":
        return f"evaluate {event['split']} {event['done']}/{event['of']}"
    steps = f"{event['step']}/{event['steps']}" if event.get("steps") else str(event["step"])
    return f"train {steps}  loss {event['loss']:.3g}  {event['tokens_per_s']:,.0f} tokens/s"


def outcome(record: Record) -> str:
    """How a run ended: status, with validation loss and first metric, or with the reason's first line."""
    if record.status is Status.OK and record.evaluation is not None:
        scores = record.evaluation.validation
        metrics = [f"{name} {metric.value:.3f}" for name, metric in scores.metrics.items()]
        return ", ".join([f"ok  validation loss {scores.loss:.3f}", *metrics[:1]])
    where = f" in {record.failed_phase}" if record.failed_phase else ""
    reason = f": {record.reason.splitlines()[0]}" if record.reason else ""
    return f"{record.status}{where}{reason}"


def duration(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any: `0:12`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

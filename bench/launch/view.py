"""What a sweep says while it runs: one line when a run starts and one when it ends, on stderr.

That is all where the output is a file, a pipe or a CI's log; on a terminal `bench.launch.live` draws what is going
on below these lines. stdout carries the table alone.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from bench.config import Run
from bench.launch.progress import Progress
from bench.records.schema import Record, Status


class View:
    """Plain lines, and the base of the live view.

    Attributes:
        interrupted: whether Ctrl-C ended the sweep; set by the launcher.
        stopped: runs that were at work then.
        left: runs that had not been started.
    """

    stopped = left = 0

    def __init__(self, stream: TextIO) -> None:
        self.interrupted = False
        self._stream = stream

    @contextlib.contextmanager
    def sweep(self, progress: Progress) -> Iterator[None]:
        """A sweep begins, and ends with the block."""
        if progress.before:
            self.note(f"{progress.before} run{'s are' if progress.before > 1 else ' is'} done already")
        yield
        self.left = progress.total - sum(progress.ended.values())
        self.stopped = progress.ended.get(Status.INTERRUPTED, 0)

    def start(self, run: Run) -> None:
        """A run begins."""
        self.note(f"{run.run_id()}  started")

    def event(self, event: dict[str, Any]) -> None:
        """A worker says how far it is."""

    def show(self, progress: Progress) -> None:
        """How far the sweep is now; comes about once a second."""

    def end(self, record: Record, seconds: float, progress: Progress) -> None:
        """A run has ended after `seconds`."""
        ended, left = sum(progress.ended.values()), progress.left_s()
        more = f", about {duration(left)} left" if left and progress.queued else ""
        self.note(f"{ended}/{progress.total} {record.run_id}  {outcome(record)}  {duration(seconds)}{more}")

    def note(self, text: str) -> None:
        """Show a line that stays; nobody may be there any more to read it."""
        with contextlib.suppress(OSError):
            print(text, file=self._stream, flush=True)


def open_view(stream: TextIO | None = None) -> View:
    """The view that fits `stream`, by default stderr."""
    stream = stream or sys.stderr
    if not stream.isatty():
        return View(stream)
    from bench.launch.live import LiveView

    return LiveView(stream)


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

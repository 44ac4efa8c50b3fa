"""The live view: below the lasting lines a line for the sweep and one for each run at work.

It is drawn when the launcher's loop comes round, about once a second: a thread that draws would take time from the
run that is measured.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, TextIO

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bench.config import Run
from bench.launch.progress import Progress, Row
from bench.launch.view import View, duration

INTERVAL = 0.9  # seconds between two drawings
WIDE = 110  # columns from which on there is room for a bar and for whole names
BAR = 20  # columns
UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"))


class LiveView(View):
    """A view for a terminal."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._console = Console(file=stream)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._drawn = float("-inf")

    @contextlib.contextmanager
    def sweep(self, progress: Progress) -> Iterator[None]:
        """Keep the live part on the screen until the sweep ends."""
        with super().sweep(progress):
            with contextlib.suppress(OSError):  # the terminal may be closed at any time
                self._live.start()
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    self._live.stop()

    def start(self, run: Run) -> None:
        """A run begins; the live part will show it."""

    def show(self, progress: Progress) -> None:
        """Draw it, unless that was done a moment ago."""
        if time.monotonic() - self._drawn >= INTERVAL:
            self._drawn = time.monotonic()
            with contextlib.suppress(OSError):
                self._live.update(render(progress, self._console.width), refresh=True)

    def note(self, text: str) -> None:
        """Show a line that stays, above the live part."""
        with contextlib.suppress(OSError):
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def render(progress: Progress, width: int) -> RenderableType:
    """The sweep and its runs, for a terminal of `width` columns."""
    table = Table.grid(padding=(0, 2), expand=False)
    table.add_column(no_wrap=True)
    room = max(16, width - (110 if width >= WIDE else 60))
    for _ in range(6 if width >= WIDE else 5):
        table.add_column(no_wrap=True)
    for row in progress.rows:
        cells = [Text(_cut(row.run_id, room)), Text(_doing(row)), *_figures(row, width)]
        table.add_row(*cells)
    return Group(Text(heading(progress), style="bold"), table)


def heading(progress: Progress) -> str:
    """The sweep in a line: `12 of 40 done, 1 failed, 2 running, 25 queued, about 3:20:00 left`."""
    ended = sum(progress.ended.values())
    parts = [f"{progress.before + ended} of {progress.before + progress.total} done"]
    if progress.failed:
        parts.append(f"{progress.failed} of them failed")
    parts += [f"{len(progress.rows)} running", f"{progress.queued} queued"]
    left = progress.left_s()
    if left is not None and (progress.rows or progress.queued):
        parts.append(f"about {duration(left)} left")
    if progress.waiting_for and not progress.rows:
        parts.append(f"waiting: {progress.waiting_for}")
    return ", ".join(parts)


def _cut(name: str, room: int) -> str:
    """The name with its middle left out if it is too long: its end tells runs apart."""
    return name if len(name) <= room else f"{name[: room - 13]}…{name[-12:]}"


def _doing(row: Row) -> str:
    if row.step is None:
        return row.phase
    return f"{row.phase} {row.step:,}/{row.steps:,}" if row.steps else f"{row.phase} {row.step:,}"


def _figures(row: Row, width: int) -> list[Any]:
    memory = row.host_bytes if row.device_bytes is None else row.device_bytes
    left = "" if row.left_s is None else f"-{duration(row.left_s)}"
    loss = "" if row.loss is None else f"{row.loss:.3g}"
    if width < WIDE:
        speed = "" if row.tokens_per_s is None else f"{row.tokens_per_s:,.0f} tok/s"
        return [Text(loss), Text(speed), Text(_size(memory)), Text(f"{duration(row.seconds)} {left}".rstrip())]
    bar = Bar(1.0, 0.0, row.share or 0.0, width=BAR, color="cyan", bgcolor="grey30")
    speed = "" if row.tokens_per_s is None else f"{row.tokens_per_s:,.0f} tokens/s"
    words = [f"loss {loss}" if loss else "", speed, _memory(row), f"{duration(row.seconds)} {left}".rstrip()]
    return [bar, *map(Text, words)]


def _memory(row: Row) -> str:
    """What the run holds and, on a GPU, what it was predicted to: resident memory of a host is another thing."""
    if row.device_bytes is None:
        return _size(row.host_bytes)
    return _size(row.device_bytes) + (f" of ~{_size(row.predicted_bytes)}" if row.predicted_bytes else "")


def _size(memory: int | None) -> str:
    if memory is None:
        return ""
    unit, name = next(((u, n) for u, n in UNITS if memory >= u), UNITS[-1])
    return f"{memory / unit:.3g} {name}"

"""The clock of the steps, and what else the machine did meanwhile.

On CUDA the host runs ahead of the device, so a step is timed between two events on the device's own time line,
and nothing waits for them.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.records.schema import Quantiles

_STAT = Path("/proc/stat")


class StepClock:
    """Times steps, each between `start` and `stop`."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._began: Any = None

    def start(self) -> None:
        """A step begins."""
        self._began = self._now()

    def stop(self) -> Callable[[], float]:
        """The step that was begun ends. Returns what tells its seconds; on CUDA, when the device has done it."""
        began, ended = self._began, self._now()
        if self._device == "cuda":
            return lambda: began.elapsed_time(ended) / 1000
        return lambda: ended - began

    def _now(self) -> Any:
        if self._device == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            return event
        if self._device == "mps":
            torch.mps.synchronize()
        return time.perf_counter()


class ForeignCpu:
    """The cores that other processes kept busy between `start` and `stop`, among those this process may use.

    Time that a hypervisor took from this machine counts as foreign: it disturbs as much.
    """

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None
        self._cores: float | None = None

    def start(self) -> None:
        """The interval begins."""
        self._began = _foreign_seconds()

    def stop(self) -> None:
        """The interval ends."""
        ended = _foreign_seconds()
        if self._began and ended and ended[0] > self._began[0]:
            self._cores = max(0.0, (ended[1] - self._began[1]) / (ended[0] - self._began[0]))

    def cores(self) -> float | None:
        """Mean number of foreign busy cores; None where the system does not tell (it does on Linux)."""
        return self._cores


def _foreign_seconds() -> tuple[float, float] | None:
    """The time, and the CPU seconds that others have used on our cores up to it."""
    try:
        lines = _STAT.read_text().splitlines()
    except OSError:
        return None
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    busy = 0
    for name, *ticks in (line.split() for line in lines):
        if name in ours:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
            busy += user + nice + system + irq + softirq + steal
    return time.perf_counter(), busy / os.sysconf("SC_CLK_TCK") - time.process_time()


def quantiles(times: Sequence[float]) -> Quantiles:
    """Median, 10th and 90th percentile, interpolated linearly; `times` must not be empty."""
    p10, median, p90 = (float(value) for value in np.percentile(times, [10, 50, 90]))
    return Quantiles(median, p10, p90)

"""Peak memory, time and energy of the phases of a run.

CUDA keeps a peak of its own. Elsewhere a thread reads the allocator every `interval` seconds. On a CPU with glibc
the figure is what the heap has in use plus the resident part of files mapped into memory, which is where
safetensors leaves weights that need no conversion; both are counted above what was there when the meter was made.
The resident set is no substitute: freed blocks that glibc keeps for later count in it, which can reverse the order
of two methods. Its high-water mark stands beside the figure, under its own name.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import torch

from bench.measure.nvidia import Nvml
from bench.measure.process import Resident, heap_reader, mapped_bytes, resident_bytes, tidy_heap, trim_heap
from bench.records.schema import Phase

GIB = 1 << 30
DEVICE_INTERVAL = 0.05  # seconds; asking a GPU's driver is dearer than asking an allocator
SHARE = 0.01  # of the time, that the sampling thread may take
# how torch and Python say it on a CPU; a thread cannot start where there is no room for its stack
NO_MEMORY = ("can't allocate memory", "not enough memory", "can't start new thread")


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device's memory or the host's has run out."""
    words = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(each in words for each in NO_MEMORY)
    )


def limit_memory(gib: float, device: str) -> int:
    """Let torch reserve no more than `gib` GiB on this process's GPU, and return that in bytes.

    An allocation beyond fails with `torch.OutOfMemoryError`, as on a smaller GPU. What CUDA itself takes for the
    process is not counted.

    Raises:
        ValueError: the device is no GPU of NVIDIA's, or has less.
    """
    if device != "cuda":
        raise ValueError(f"hardware.memory_gib limits the memory of an NVIDIA GPU, and this run computes on {device}")
    limit, total = int(gib * GIB), int(torch.cuda.get_device_properties().total_memory)
    if limit > total:
        has = f"the {total / GIB:.1f} of {torch.cuda.get_device_name()}"
        raise ValueError(f"hardware.memory_gib must be <= {has}, got {gib:g}")
    torch.cuda.set_per_process_memory_fraction(limit / total)
    return limit


class Gauge(Protocol):
    """Reads the memory of one kind of device; `sample` is called by a thread inside a phase."""

    source: str
    interval: float

    def reset(self) -> None:
        """Forget the peaks."""

    def sample(self) -> None:
        """Take a reading into account."""

    def finish(self, phase: Phase) -> None:
        """Write the peaks since `reset` into `phase`."""


class MemoryMeter:
    """Measures the phases of a run.

    Attributes:
        phases: the finished phases, a phase that an exception ended among them.
        current: the name of the phase that runs, or that an exception ended; None after one that ended well.

    Args:
        device: `cpu`, `cuda` or `mps`.
        interval: seconds between two readings of an allocator that keeps no peak of its own.
    """

    def __init__(self, device: str, interval: float = 0.002) -> None:
        self.phases: list[Phase] = []
        self.current: str | None = None
        self._device = device
        self._nvml = Nvml.current() if device == "cuda" else None
        self._resident = Resident()
        self._gauge = self._make_gauge(interval)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Measure the block; what it yields holds the figures once the block has ended, by an exception too."""
        result = Phase(name, 0.0, self._gauge.source, 0)
        self.current = name
        self._synchronize()
        energy = self._energy_j()
        self._gauge.reset()
        self._resident.reset()
        sampler = _Sampler([self._gauge.sample, self._resident.sample], self._gauge.interval)
        sampler.start()
        began = time.perf_counter()
        try:
            yield result
            self._synchronize()
        finally:
            result.seconds = time.perf_counter() - began
            sampler.stop()
            self._gauge.finish(result)
            result.peak_resident_bytes = self._resident.peak()
            spent = self._energy_j()
            result.energy_j = None if energy is None or spent is None else spent - energy
            self.phases.append(result)
        self.current = None

    def _make_gauge(self, interval: float) -> Gauge:
        if self._device == "cuda":
            return _Cuda(self._nvml)
        if self._device == "mps":
            return _Sampled("mps", torch.mps.current_allocated_memory, interval)
        heap = heap_reader()
        return _Sampled("resident", resident_bytes, interval) if heap is None else _Glibc(heap, interval)

    def _energy_j(self) -> float | None:
        return self._nvml.energy_j() if self._nvml else None

    def _synchronize(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()
        elif self._device == "mps":
            torch.mps.synchronize()


class _Sampler(threading.Thread):
    """Calls the readers every `interval` seconds, or less often where they would take more than SHARE of the time."""

    def __init__(self, readers: list[Callable[[], None]], interval: float) -> None:
        super().__init__(name="memory-sampler", daemon=True)
        self._readers, self._interval = readers, interval
        self._ended = threading.Event()

    def run(self) -> None:
        pause = self._interval
        spent = time.thread_time()
        while not self._ended.wait(pause):
            for read in self._readers:
                read()
            before, spent = spent, time.thread_time()
            pause = max(self._interval, (spent - before) / SHARE)  # waking up counts too

    def stop(self) -> None:
        self._ended.set()
        self.join()


class _Sampled:
    """Any reading in bytes, above its value when the gauge was made."""

    def __init__(self, source: str, read: Callable[[], int], interval: float) -> None:
        self.source, self.interval = source, interval
        self._read = read
        self._peak = 0
        tidy_heap()
        self._baseline = read()

    def reset(self) -> None:
        self._peak = 0
        self.sample()

    def sample(self) -> None:
        self._peak = max(self._peak, self._read() - self._baseline)

    def finish(self, phase: Phase) -> None:
        self.sample()
        phase.peak_allocated_bytes = self._peak


class _Glibc(_Sampled):
    """The heap, sampled, and the mapped files, read at both ends of a phase because reading them is slow."""

    def __init__(self, heap: Callable[[], int], interval: float) -> None:
        super().__init__("glibc", heap, interval)
        self._mapped_before = self._mapped = mapped_bytes()

    def reset(self) -> None:
        trim_heap()  # what the phase before has freed is not resident in this one
        self._mapped = mapped_bytes()
        super().reset()

    def finish(self, phase: Phase) -> None:
        super().finish(phase)
        mapped = max(0, self._mapped - self._mapped_before, mapped_bytes() - self._mapped_before)
        phase.peak_allocated_bytes = self._peak + mapped


class _Cuda:
    """Torch's caching allocator, which keeps its own peaks, and the whole device, which is sampled."""

    source = "cuda"
    interval = DEVICE_INTERVAL

    def __init__(self, nvml: Nvml | None) -> None:
        self._nvml = nvml
        self._peak = 0

    def reset(self) -> None:
        torch.cuda.empty_cache()  # what the phase before has freed is not reserved by this one
        torch.cuda.reset_peak_memory_stats()
        self._peak = 0
        self.sample()

    def sample(self) -> None:
        if self._nvml:
            used = self._nvml.used_bytes()
        else:
            free, total = torch.cuda.mem_get_info()
            used = total - free
        self._peak = max(self._peak, used)

    def finish(self, phase: Phase) -> None:
        phase.peak_allocated_bytes = torch.cuda.max_memory_allocated()
        phase.peak_reserved_bytes = torch.cuda.max_memory_reserved()
        self.sample()
        phase.peak_device_bytes = self._peak

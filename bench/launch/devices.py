"""Which device a run computes on: a lease for each, by a file lock that all launchers of this user share.

Two runs on one device disturb each other's timing and memory, so a device is lent to one run at a time, to
`launch.per_device` if somebody asks for more. That holds for the CPU too. A lease dies with its holders.
"""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.config import Run
from bench.launch.gpus import Gpu, gpus
from bench.launch.locks import Lock, holder
from bench.measure.environment import sees_cuda

VISIBLE = "CUDA_VISIBLE_DEVICES"
IDLE = 1024  # MiB that a driver or a desktop may hold on a GPU that is free
INTERVAL = 2.0  # seconds between two looks at a GPU that another program uses
LOCKS = "TUNEBENCH_LOCKS"  # environment variable: another folder for the locks


class DeviceError(Exception):
    """`launch.devices` cannot be had; the message is for the user."""


@dataclass
class Lease:
    """Devices that a run may use until `release`."""

    environment: dict[str, str]  # for the child
    locks: list[Lock]

    def release(self) -> None:
        """Give them back."""
        for lock in self.locks:
            lock.release()


class Devices:
    """The devices of a sweep, of which `run` is any; its `hardware` and `launch` count.

    Attributes:
        waiting_for: why the last `lease` gave none, in words.

    Raises:
        DeviceError: a device is not there, or is in use and shall not be waited for.
    """

    def __init__(self, run: Run) -> None:
        self._settings = run.launch
        self._keys = _gpu_keys(run) if uses_gpus(run) else []
        if not self._keys:
            _refuse_what_needs_a_gpu(run)
        self._names = {key: gpu.uuid for key in self._keys if (gpu := _find(key, gpus()))}  # one lock for both names
        self._look_again: dict[str, float] = {}
        self.waiting_for = ""
        if self._keys and run.launch.busy == "refuse":
            known = gpus()
            self._keys = [key for key in self._keys if not self._busy(key, known)]
            if not self._keys:
                raise DeviceError(f"launch.busy=refuse: {self.waiting_for}")
        if self._keys and run.launch.processes > len(self._keys):
            there = ", ".join(self._keys)
            raise DeviceError(f"launch.processes={run.launch.processes} needs as many GPUs; there are {there}")

    def lease(self, count: int) -> Lease | None:
        """Devices for one run of `count` processes; None while they are in use."""
        if not self._keys:
            lock = self._take("cpu")
            return None if lock is None else Lease({}, [lock])
        taken: dict[str, Lock] = {}
        for key in self._keys:
            lock = self._take(key)
            if lock is not None and self._must_wait(key):
                lock.release()
            elif lock is not None:
                taken[key] = lock
            if len(taken) == count:
                return Lease({VISIBLE: ",".join(taken)}, list(taken.values()))
        for lock in taken.values():
            lock.release()
        return None

    def _take(self, key: str) -> Lock | None:
        for slot in range(self._settings.per_device):
            path = locks_folder() / f"{self._names.get(key, key)}-{slot}.lock"
            lock = Lock.take(path)
            if lock is not None:
                return lock
        what = "the CPU is" if key == "cpu" else f"GPU {key} is"
        self.waiting_for = f"{what} in use by {holder(path)} of tunebench (launch.per_device shares a device)"
        return None

    def _must_wait(self, key: str) -> bool:
        """Whether another program is on the GPU that we have just locked; asked now and then, as it takes time."""
        if self._settings.busy != "wait" or self._settings.per_device > 1:
            return False
        if time.monotonic() < self._look_again.get(key, 0.0):
            return True
        busy = self._busy(key, gpus())
        self._look_again[key] = time.monotonic() + (INTERVAL if busy else 0.0)
        return busy

    def _busy(self, key: str, known: list[Gpu]) -> bool:
        """Whether a program that is none of ours holds memory there."""
        gpu = _find(key, known)
        if gpu is None or gpu.used <= IDLE:
            return False
        self.waiting_for = f"another program holds {gpu.used:,} of {gpu.total:,} MiB on GPU {key} ({gpu.name})"
        return True


def uses_gpus(run: Run) -> bool:
    """Whether the run will compute on NVIDIA GPUs."""
    return run.hardware.device in ("auto", "cuda") and sees_cuda()


def locks_folder() -> Path:
    """Where this user's locks on devices are: on this machine, in memory if the system offers that."""
    given = os.environ.get(LOCKS)
    runtime = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(given) if given else Path(runtime) / f"tunebench-{os.getuid()}"


def first_gpu(run: Run) -> str | None:
    """What CUDA would call the first GPU of the run; None for its own first."""
    return run.launch.devices[0] if run.launch.devices else None


def _refuse_what_needs_a_gpu(run: Run) -> None:
    device = run.hardware.device
    if run.launch.devices:
        raise DeviceError(f"launch.devices: hardware={device} finds no NVIDIA GPU here to choose from")
    if run.hardware.memory_gib:
        raise DeviceError(f"hardware.memory_gib: hardware={device} finds no NVIDIA GPU here to limit the memory of")
    if device == "cuda":
        raise DeviceError("hardware=cuda: there is no NVIDIA GPU here that torch could use; use cpu or auto")


def _gpu_keys(run: Run) -> list[str]:
    known = gpus()
    visible = [key.strip() for key in os.environ.get(VISIBLE, "").split(",") if key.strip()]
    allowed = visible or [gpu.index for gpu in known]
    for key in run.launch.devices:
        gpu = _find(key, known)
        names = {key} if gpu is None else {gpu.index, gpu.uuid}
        if names.isdisjoint(allowed):
            raise DeviceError(f"launch.devices: there is no GPU {key!r}; there are {', '.join(allowed)}")
    chosen = run.launch.devices or allowed
    models = {gpu.name for key in chosen if (gpu := _find(key, known))}
    if len(models) > 1 and run.launch.devices:
        raise DeviceError(f"launch.devices must be GPUs of one model, got {', '.join(sorted(models))}")
    first = _find(chosen[0], known)
    return [key for key in chosen if first is None or (gpu := _find(key, known)) is None or gpu.name == first.name]


def _find(key: str, known: list[Gpu]) -> Gpu | None:
    return next((gpu for gpu in known if key in (gpu.index, gpu.uuid)), None)

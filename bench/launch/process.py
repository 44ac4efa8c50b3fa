"""The processes that work on one run, as their parent sees them: start, listen, stop, kill.

There is one, or `launch.processes` that train together. Nothing here waits for what a dead or stuck child owes:
what has arrived is read, and no more.
"""

import contextlib
import json
import multiprocessing as mp
import os
import pickle
import signal
import socket
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

import psutil

from bench.config import Run
from bench.launch import child
from bench.launch.locks import Lock
from bench.launch.memory import GIB, descendants, resident
from bench.launch.signals import STOPPING
from bench.measure.environment import cpu_cores

MARK = "TUNEBENCH_RUN"  # variable that every program which a run starts inherits
CHUNK = 1 << 20  # bytes read from a channel at once


class Process:
    """One process that works on a run, the `rank`-th of those that do."""

    def __init__(self, rank: int, start: str, work: child.Work) -> None:
        self.rank, self.log = rank, work.folder / work.log
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        self._open, self._unread = True, bytearray()
        with theirs:
            self._process: SpawnProcess | ForkServerProcess = context(start, work.preload).Process(
                target=child.main, args=(work, theirs)
            )
            with stopping_blocked() if start == "spawn" else contextlib.nullcontext():
                self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def sources(self) -> list[socket.socket | int]:
        """What `multiprocessing.connection.wait` can sleep on until there is news."""
        return [self._process.sentinel, *([self._channel] if self._open else [])]

    def events(self) -> Iterator[dict[str, Any]]:
        """What has arrived whole."""
        while self._open:
            try:
                data = self._channel.recv(CHUNK)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            self._open = bool(data)
            self._unread += data
            if b"\n" in data:
                *lines, rest = self._unread.split(b"\n")
                self._unread = bytearray(rest)
                yield from map(json.loads, lines)

    @property
    def exitcode(self) -> int | None:
        """As multiprocessing has it: None while it lives, negative for a signal."""
        return self._process.exitcode

    def resident(self) -> tuple[int, int]:
        """Its resident bytes now, and at most in its phase."""
        return resident(self.pid)

    def descendants(self) -> list[int]:
        """What it has started."""
        return descendants(self.pid)

    def stop(self) -> None:
        """Ask it to stop and write what it has."""
        with contextlib.suppress(OSError):
            self._channel.send(child.STOP)

    def kill(self) -> None:
        """Kill it and its process group, if anything is left of them."""
        self._process.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a zombie
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill it and let go of everything."""
        self.kill()
        self._process.join()
        self._channel.close()


def kill_marked(mark: str) -> None:
    """Kill the programs that a run has started in sessions of their own, which outlive it; `mark` names the run."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it has just ended, or is somebody else's
            if process.environ().get(MARK) == mark:
                process.kill()


def start(
    run: Run, folder: Path, mark: str, environment: dict[str, str], locks: list[Lock], target: str, preload: str
) -> list[Process]:
    """Start the processes of a run, marked with `mark`; each holds `locks` as long as it lives.

    Raises:
        OSError, EOFError: the system refuses another process, or the fork server is gone.
    """
    count = 1 if run.method is None else run.launch.processes
    common = {MARK: mark} | environment | (rendezvous(count) if count > 1 else {})
    heap = int(run.launch.memory * GIB) // count if not environment else 0
    started: list[Process] = []
    try:
        for rank in range(count):
            ranked = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {}
            log = child.LOG if rank == 0 else f"worker.{rank}.log"
            work = child.Work(
                pickle.dumps(run), folder, log, target, preload, common | ranked,
                run.launch.accelerate, heap, locks,
            )  # fmt: skip
            started.append(Process(rank, run.launch.start, work))
    except BaseException:
        for process in started:
            process.close()
        raise
    return started


def rendezvous(count: int) -> dict[str, str]:
    """Where `count` processes of this machine find each other, as torch.distributed reads it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(max(1, cpu_cores() // count)),
    }


def context(start: str, preload: str) -> SpawnContext | ForkServerContext:
    """How processes are started; a fork server that runs already is used again."""
    if start == "spawn":
        return mp.get_context("spawn")
    found = mp.get_context("forkserver")
    found.set_forkserver_preload([preload])
    with stopping_blocked():
        forkserver.ensure_running()
    return found


@contextlib.contextmanager
def stopping_blocked() -> Iterator[None]:
    """Keep what stops the launcher from a process started meanwhile, which inherits the mask; ours comes afterwards.

    The fork server keeps it for good: a closed terminal or a scheduler signals the whole process group, and the
    children, which end with the fork server, are to write what they have first.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""Start one child, watch it to its end, and make sure that a record says how it ended.

The parent never waits for anything that a dead or stuck child owes it: it sleeps on the channel and the process
together, reads only what has arrived, and looks after the process once a second in case a grandchild holds both open.
"""

import contextlib
import json
import multiprocessing as mp
import os
import pickle
import signal
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from pathlib import Path

from bench import __version__
from bench.config import Run, to_dict
from bench.launch import child
from bench.launch.view import View
from bench.records import store
from bench.records.schema import Record, Status

HEARTBEAT = 1.0  # seconds
CHUNK = 1 << 20  # bytes read from the channel at once
LOG_LINES = 5  # of the log's end that go into the record
VMSTAT = Path("/proc/vmstat")


class Child:
    """A child process that works on one run."""

    def __init__(self, run: Run, folder: Path, view: View, target: str, preload: str) -> None:
        self._run, self._folder, self._view = run, folder, view
        self._channel, theirs = socket.socketpair()
        self._unread = bytearray()
        self._phase: str | None = None
        self._started_at = _now()
        self._oom_kills = _oom_kills()
        context = _context(run.launch.start, preload)
        with theirs:
            arguments = (pickle.dumps(run), folder, theirs, target, preload)
            self._process: SpawnProcess | ForkServerProcess = context.Process(target=child.main, args=arguments)
            with _sigint_blocked() if run.launch.start == "spawn" else contextlib.nullcontext():
                self._process.start()

    def watch(self, seconds: float) -> bool:
        """Forward events until the child has ended, for `seconds` at most. Returns whether it has ended."""
        deadline = time.monotonic() + seconds
        sources: list[socket.socket | int] = [self._channel, self._process.sentinel]
        while self._process.exitcode is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._channel in connection.wait(sources, min(left, HEARTBEAT)) and not self._read():
                sources.remove(self._channel)
        self._channel.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # a grandchild may hold the channel open
            while self._read():
                pass
        return True

    def stop(self, grace: float) -> None:
        """Ask the child to stop and write what it has; returns after its end, or after `grace` seconds."""
        with contextlib.suppress(OSError):
            self._channel.sendall(child.STOP)
        self.watch(grace)

    def close(self) -> None:
        """Kill the child and what it has started, if anything is left of them."""
        pid = self._process.pid
        if pid is not None:
            self._process.kill()
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a zombie
                os.killpg(pid, signal.SIGKILL)
            self._process.join()
        self._channel.close()

    def record(self, verdict: Status | None, reason: str) -> Record:
        """The record of the ended child; written here if the child left none, or did not know why it had to stop."""
        path = self._folder / store.RECORD
        with contextlib.suppress(store.DamagedRecord):
            record = store.read(path)
            if verdict is Status.TIMEOUT and record.status is Status.INTERRUPTED:
                record.status, record.reason = verdict, reason
                store.write(record, self._folder)
            return record
        if verdict is None:
            verdict, reason = self._cause()
        record = unreached(self._run, verdict, reason, self._started_at)
        record.failed_phase = self._phase
        store.write(record, self._folder)
        return record

    def _read(self) -> bool:
        """Take what the channel holds and forward whole events; False at its end."""
        try:
            data = self._channel.recv(CHUNK)
        except ConnectionResetError:
            return False
        self._unread += data
        if b"\n" in data:
            *lines, rest = self._unread.split(b"\n")
            self._unread = bytearray(rest)
            for line in lines:
                event = json.loads(line)
                if event["event"] == "phase":
                    self._phase = event["name"]
                self._view.event(event)
        return bool(data)

    def _cause(self) -> tuple[Status, str]:
        """Why a child ended without a record, by its exit code and the end of its log."""
        code = self._process.exitcode
        assert code is not None
        if code == -signal.SIGKILL and _oom_kills() > self._oom_kills:
            return Status.OOM, "killed by the kernel: out of host memory"
        if code == -signal.SIGKILL:
            what = "killed by SIGKILL (possibly out of memory)"
        elif code < 0:
            what = f"killed by {signal.Signals(-code).name}"
        else:
            what = f"ended with exit code {code} and without a record"
        return Status.CRASHED, "\n".join([what, *_last_lines(self._folder / child.LOG)])


def supervise(run: Run, folder: Path, view: View, target: str, preload: str, grace: float) -> tuple[Record, bool]:
    """Run one child to its end.

    Args:
        run: what to work on.
        folder: of the run; exists and holds no record.
        view: is told the child's events.
        target: the worker, as `module:function`.
        preload: the module that the child imports first.
        grace: seconds that a child has to write its record when it is told to stop.

    Returns:
        The record, and whether Ctrl-C ended the run.
    """
    started: Child | None = None
    verdict, reason = None, ""
    try:
        started = Child(run, folder, view, target, preload)
        if not started.watch(run.launch.timeout or float("inf")):
            verdict, reason = Status.TIMEOUT, f"not finished after launch.timeout={run.launch.timeout:g} seconds"
            started.stop(grace)
    except KeyboardInterrupt:
        verdict, reason = Status.INTERRUPTED, "stopped by Ctrl-C"
        if started is not None:
            with contextlib.suppress(KeyboardInterrupt):  # a second one: no more waiting
                started.stop(grace)
    except (OSError, EOFError) as error:  # the fork server is gone, or the system refuses another process
        verdict, reason = Status.CRASHED, f"the process could not be started: {type(error).__name__}: {error}"
    finally:
        if started is not None:
            started.close()
    if started is not None:
        return started.record(verdict, reason), verdict is Status.INTERRUPTED
    record = unreached(run, verdict or Status.CRASHED, reason, _now())
    store.write(record, folder)
    return record, verdict is Status.INTERRUPTED


def unreached(run: Run, status: Status, reason: str, started_at: str) -> Record:
    """The record of a run that could not write its own."""
    return Record(
        run_id=run.run_id(),
        group=run.group(),
        method=run.title(),
        model=run.model.name,
        task=run.task.name,
        seed=run.seed,
        status=status,
        started_at=started_at,
        finished_at=_now(),
        config=to_dict(run),
        tunebench_version=__version__,
        reason=reason,
    )


def _context(start: str, preload: str) -> SpawnContext | ForkServerContext:
    if start == "spawn":
        return mp.get_context("spawn")
    context = mp.get_context("forkserver")
    context.set_forkserver_preload([preload])
    with _sigint_blocked():
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Keep a Ctrl-C from a process started meanwhile, which inherits the mask; ours is delivered afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _oom_kills() -> int:
    """How many processes Linux has killed for want of memory since it started; 0 elsewhere."""
    try:
        words = VMSTAT.read_text().split()
    except OSError:
        return 0
    return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0


def _last_lines(log: Path) -> list[str]:
    if not log.exists():
        return []
    return [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-LOG_LINES:]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

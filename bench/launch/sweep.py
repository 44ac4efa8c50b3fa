"""A list of runs: skip what is done, start what can start, watch what runs, and go on whatever happens.

One loop does it all. It sleeps until a child says something, a signal comes or a second has passed, so it takes no
time from the runs that are measured, and nothing interrupts it in the middle of a line.
"""

import contextlib
import os
import time
from multiprocessing import connection
from typing import Any

from bench.config import Run
from bench.launch.devices import Devices, Lease
from bench.launch.locks import Lock, holder
from bench.launch.process import context, start
from bench.launch.progress import Progress
from bench.launch.queue import (
    Job,
    folder_of,
    jobs,
    make_results,
    prepare,
    put_aside,
    settled,
    smaller_batch,
    with_bases,
)
from bench.launch.running import Running, unreached
from bench.launch.signals import Signals
from bench.launch.status import StatusFile
from bench.launch.view import View
from bench.records import store
from bench.records.schema import Record, Status

__all__ = ["folder_of", "launch", "with_bases"]

WORKER = "bench.worker:work"
PRELOAD = "bench.launch.preload"
GRACE = 15.0  # seconds between asking a child to stop and killing it
FINISH = 60.0  # the same after Ctrl-C, for the step at work and a checkpoint
HEARTBEAT = 1.0  # seconds between two looks at what nobody tells
POLL = 0.25  # seconds between two tries to get what others hold


def launch(
    runs: list[Run], view: View, *, worker: str = WORKER, preload: str = PRELOAD, grace: float = GRACE
) -> list[Record]:
    """Do all runs that are not done yet, and the base runs that they need, each in a process of its own.

    Args:
        runs: what to do, in this order; one that occurs twice is done once.
        view: shows the progress.
        worker: the child's work, as `module:function`.
        preload: the module that children import first, the fork server once for all.
        grace: seconds that a child has to write its record when it is told to stop.

    Returns:
        The records of all runs in their order, each base run before the first run that needs it. Ctrl-C ends the
        list early: `view.interrupted` is true then. A run that could not be started is not in it.

    Raises:
        DeviceError: a device that was asked for is not there.
        ResultsError: the folder of results cannot be made.
    """
    with Signals() as signals:
        return Sweep(jobs(runs), view, signals, worker, preload, grace).carry_out()


class Sweep:
    """The runs of one launch, as they are done."""

    def __init__(self, plan: list[Job], view: View, signals: Signals, worker: str, preload: str, grace: float) -> None:
        self._plan, self._view, self._signals = plan, view, signals
        self._worker, self._preload, self._grace = worker, preload, grace
        self._due: list[Job] = []
        self._running: dict[str, tuple[Job, Running, Lock, Lease]] = {}
        self._done: dict[str, Record] = {}
        self._given_up: set[str] = set()  # runs that cannot be done and have no record
        self._done_again: set[str] = set()
        self._devices: dict[Any, Devices] = {}
        self._said = False  # what is waited for
        self._progress = Progress()
        self._stops = 0  # signals that were answered
        within = plan[0].run.launch.within if plan else 0.0
        self._no_start_after = time.monotonic() + within * 3600 if within else float("inf")

    def carry_out(self) -> list[Record]:
        """Do everything."""
        for job in self._plan:
            if not self._is_over(job):
                self._due.append(job)
        for job in self._due:
            self._devices_of(job)  # whatever is wrong with them is said before anything starts
        if self._due:
            make_results(self._due[0])
        self._progress.total, self._progress.before = len(self._due), len(self._done)
        if self._due and self._due[0].run.launch.start == "forkserver":
            context("forkserver", self._preload)  # its imports take seconds, in which we can do something else
        status = StatusFile(self._plan[0].folder.parent) if self._due else contextlib.nullcontext()
        with status, self._view.sweep(self._progress):
            try:
                self._view.show(self._progress)
                while self._due or self._running:
                    self._round(status)
            finally:
                for _, running, lock, lease in self._running.values():
                    running.close()
                    lock.release()
                    lease.release()
        return [self._done[job.run_id] for job in self._plan if job.run_id in self._done]

    def _round(self, status: Any) -> None:
        self._mind_the_time()
        blocked = self._start_what_can()
        if not self._running and not self._due:
            return
        sources: list[Any] = [self._signals.source]
        for _, running, _, _ in self._running.values():
            sources += [source for process in running.processes for source in process.sources()]
        connection.wait(sources, POLL if blocked and not self._running else HEARTBEAT)
        self._answer_signals()
        for job, running, lock, lease in list(self._running.values()):
            if running.attend(self._view.event, self._grace):
                self._end(job, running, lock, lease)
        self._progress.rows = [running.row for _, running, _, _ in self._running.values()]
        status.show(self._progress)
        self._view.show(self._progress)

    def _start_what_can(self) -> bool:
        """Start the runs whose turn it is; returns whether one waits for something that others hold."""
        blocked, full = False, set()
        pending = {job.run_id for job in self._due} | self._running.keys()
        for job in list(self._due):
            if self._signals.count > self._stops:
                break
            if self._device_key(job) in full or not self._may_start(job, pending):
                continue
            try:
                waits = self._start(job)
            except (OSError, store.DamagedRecord) as error:  # a full or read-only disk
                self._due.remove(job)
                words = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
                reason = f"cannot be written: {words}"
                self._close(job, unreached(job.run, Status.FAILED, reason), 0.0)
                continue
            if waits:
                blocked = True
                self._wait_for(waits)
                if waits == self._devices_of(job).waiting_for:
                    full.add(self._device_key(job))
        if not blocked:
            self._progress.waiting_for, self._said = "", False
        return blocked

    def _may_start(self, job: Job, pending: set[str]) -> bool:
        """Whether the runs that this one needs are over."""
        return all(self._is_there(each, pending) for each in (job.base, job.start) if each is not None)

    def _is_there(self, job: Job, pending: set[str]) -> bool:
        """Whether a run is over; one whose record somebody has removed meanwhile is done again, once."""
        if job.run_id in self._given_up:
            return True
        if job.run_id in pending:
            return False
        record = self._done.get(job.run_id)
        if record is None or record.status is not Status.OK or job.run_id in self._done_again:
            return True
        if (job.folder / store.RECORD).exists():
            return True
        self._done_again.add(job.run_id)
        pending.add(job.run_id)
        self._due.insert(0, job)
        self._progress.total += 1
        return False

    def _start(self, job: Job) -> str:
        """Start the run, or find that it is done; else what it waits for: somebody who does it, or a device."""
        lock = Lock.take(job.lock)
        if lock is None:
            return f"{job.run_id} is being done by {holder(job.lock)}"
        lease: Lease | None = None
        try:
            if self._is_over(job):
                self._due.remove(job)
                self._progress.total -= 1
                return ""
            lease = self._devices_of(job).lease(job.run.launch.processes if job.base else 1)
            if lease is None:
                return self._devices_of(job).waiting_for
            prepare(job)
            self._due.remove(job)
            self._view.start(job.run)
            self._running[job.run_id] = (job, self._begin(job, lock, lease), lock, lease)
            return ""
        finally:
            if job.run_id not in self._running:
                lock.release()
                if lease is not None:
                    lease.release()

    def _begin(self, job: Job, lock: Lock, lease: Lease) -> Running:
        locks, mark = [lock, *lease.locks], f"{job.run_id}-{os.getpid()}"
        try:
            with self._signals.at_once():
                processes = start(job.run, job.folder, mark, lease.environment, locks, self._worker, self._preload)
            return Running(job.run, job.folder, processes, mark)
        except (OSError, EOFError) as error:  # the fork server is gone, or the system refuses another process
            running = Running(job.run, job.folder, [], mark)
            reason = f"the process could not be started: {type(error).__name__}: {error}"
            running.verdict = (Status.CRASHED, reason)
            return running

    def _end(self, job: Job, running: Running, lock: Lock, lease: Lease) -> None:
        """Clean up after the run and keep its record, or try it again with a smaller batch."""
        running.close()
        record = running.record()
        again = False
        if not self._signals.count:
            with contextlib.suppress(OSError):  # a full disk: the record stays as it is
                again = smaller_batch(job, record)
        del self._running[job.run_id]
        self._progress.rows = [each.row for _, each, _, _ in self._running.values()]
        lease.release()
        lock.release()
        if again:
            self._due.insert(0, job)
            self._view.note(f"{job.run_id}: {job.attempt.history[-1]}; again with {job.attempt.micro_batch_size}")
        else:
            self._close(job, record, running.row.seconds)

    def _close(self, job: Job, record: Record, seconds: float) -> None:
        self._done[job.run_id] = record
        self._progress.ended[record.status] = self._progress.ended.get(record.status, 0) + 1
        if job.base is not None and seconds:  # base runs, which do not train, say nothing of the others
            self._progress.seconds.append(seconds)
        self._view.end(record, seconds, self._progress)

    def _is_over(self, job: Job) -> bool:
        """Whether there is nothing to do: a final record, which is taken, or a newer one, which is left alone.

        What lies there and is no record of the run is named and moved.
        """
        try:
            record = settled(job)
        except store.NewerRecord as error:
            self._view.note(f"left alone: {error}")
            self._given_up.add(job.run_id)
            return True
        except store.DamagedRecord as error:
            self._view.note(f"a damaged record, the run is done again: {error}")
            with contextlib.suppress(OSError):  # named again when the run starts there
                self._view.note(f"it is now in {put_aside(job)}")
            return False
        if record is not None:
            self._done[job.run_id] = record
        return record is not None

    def _answer_signals(self) -> None:
        """Once: let every run finish its step. Twice: end them at once."""
        self._signals.drain()
        if self._signals.count == self._stops:
            return
        first, self._stops = self._stops == 0, self._signals.count
        self._view.interrupted = True
        self._due.clear()
        if first and self._running:
            self._view.note("stopping after the step at work; Ctrl-C again stops at once")
        for _, running, _, _ in self._running.values():
            running.stop(Status.INTERRUPTED, f"stopped by {self._signals.name}", FINISH if first else 0.0)

    def _mind_the_time(self) -> None:
        """Start nothing more once `launch.within` is over."""
        if self._due and time.monotonic() > self._no_start_after:
            left, hours = len(self._due), self._due[0].run.launch.within
            self._due.clear()
            runs = f"{left} run{'s are' if left > 1 else ' is'}"
            again = "the same command starts what is left"
            self._view.note(f"launch.within={hours:g} hours are over and {runs} not started; {again}")

    def _devices_of(self, job: Job) -> Devices:
        key = self._device_key(job)
        if key not in self._devices:
            self._devices[key] = Devices(job.run)
        return self._devices[key]

    def _device_key(self, job: Job) -> tuple[Any, ...]:
        """Runs with the same key use the same devices."""
        settings = job.run.launch
        hardware = (job.run.hardware.device, job.run.hardware.memory_gib > 0)
        return (*hardware, *settings.devices, settings.per_device, settings.processes, settings.busy)

    def _wait_for(self, what: str) -> None:
        """Say once what is waited for, if there is nothing else to do."""
        self._progress.waiting_for = what
        if not self._running and not self._said:
            self._said = True
            self._view.note(f"waiting: {what}")

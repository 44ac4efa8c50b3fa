"""One run at work: its processes, its limits, and the record that says how it ended, whatever happened."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import __version__
from bench.config import Run, to_dict
from bench.launch.memory import GIB, limit_bytes, resident
from bench.launch.process import Process, kill_marked
from bench.launch.progress import Row
from bench.records import store
from bench.records.attempt import Attempt
from bench.records.schema import Phase, Record, Status

LOG_LINES = 5  # of the log's end that go into the record
LOG_KEPT = 1 << 20  # bytes at either end of a log
LOG_TAIL = 1 << 16  # bytes of it that are looked at
INTERVAL = 0.9  # seconds between two looks at a run's clocks and memory
GRANDCHILDREN = 10  # looks at a process's memory between two at what it has started, which is dearer
VMSTAT = Path("/proc/vmstat")
NO_MEMORY = ("std::bad_alloc", "DefaultCPUAllocator: can't allocate memory", "MemoryError")  # last words


class Running:
    """A run that has been started.

    Attributes:
        row: what the views show of it.
        verdict: why it was told to stop, once it was.
    """

    def __init__(self, run: Run, folder: Path, processes: list[Process], mark: str) -> None:
        self.run, self.folder, self.processes = run, folder, processes
        self._mark = mark
        self.row = Row(run.run_id(), time.monotonic())
        self.verdict: tuple[Status, str] | None = None
        self._phase: str | None = None
        self._phase_began = self._heard = time.monotonic()
        self._started_at = _now()
        self._kill_at = float("inf")
        self._limit = limit_bytes(run.launch.memory)
        self._looks, self._look_at = 0, 0.0
        self._below: list[int] = []
        self._peak = 0  # resident, in this phase
        self._snapshot: Record | None = None
        self._handed: dict[int, Record] = {}  # records that processes could or should not write
        self._oom_kills = _oom_kills()
        self._exits: list[tuple[Process, int]] = []  # in the order in which they were seen

    def attend(self, tell: Callable[[dict[str, Any]], None], grace: float) -> bool:
        """Take what the processes say, hold them to the limits; returns whether all have ended."""
        for process in self.processes:
            ended = process.exitcode is not None
            for event in process.events():
                self._take(process, event)
                if process.rank == 0:
                    tell(event)
            if ended and process not in [each for each, _ in self._exits]:
                self._exits.append((process, process.exitcode or 0))
        self.row.seconds = time.monotonic() - self.row.started
        if len(self._exits) == len(self.processes):
            return True
        self._check(grace)
        return False

    def stop(self, status: Status, reason: str, grace: float) -> None:
        """Tell the processes to stop; those that have not after `grace` seconds are killed."""
        self.verdict = (status, reason)
        self._kill_at = time.monotonic() + grace
        for process in self.processes:
            if grace:
                process.stop()
            else:
                process.kill()

    def close(self) -> None:
        """Leave no process behind."""
        for process in self.processes:
            process.close()
        kill_marked(self._mark)

    def _take(self, process: Process, event: dict[str, Any]) -> None:
        self._heard = time.monotonic()
        snapshot = event.pop("record", None)
        if event["event"] == "record":
            self._handed[process.rank] = store.from_plain(snapshot)
        elif process.rank == 0 and event["event"] != "started":
            if snapshot is not None:
                self._snapshot = store.from_plain(snapshot)
            if event["event"] == "phase":
                self._phase, self._phase_began, self._peak = event["name"], self._heard, 0
            self.row.take(event)

    def _check(self, grace: float) -> None:
        now, settings = time.monotonic(), self.run.launch
        if now >= self._kill_at or any(self._broke_away(process, code) for process, code in self._exits):
            self._kill_at = float("inf")
            for process in self.processes:
                process.kill()
        if now < self._look_at or self.verdict is not None:
            return
        self._look_at = now + INTERVAL
        used = self._resident()
        self.row.host_bytes = used
        if settings.timeout and now - self.row.started > settings.timeout:
            self.stop(Status.TIMEOUT, f"not finished after launch.timeout={settings.timeout:g} seconds", grace)
        elif settings.stall and now - self._heard > settings.stall:
            self.stop(Status.TIMEOUT, f"no sign of life for launch.stall={settings.stall:g} seconds", grace)
        elif used > self._limit:
            given = f"launch.memory={settings.memory:g}" if settings.memory else "nine tenths of the machine's memory"
            self.stop(Status.OOM, f"used {used / GIB:.2f} GiB of host memory, more than {given}", 0.0)

    def _broke_away(self, process: Process, code: int) -> bool:
        """Whether one of several processes ended so that the others wait for it in vain."""
        if self.verdict is not None:  # all were told to stop, and one may still be writing its checkpoint
            return False
        handed = self._handed.get(process.rank)
        gave_up = handed is not None and handed.status is not Status.INTERRUPTED  # that, the others are told too
        return len(self.processes) > 1 and (code != 0 or gave_up)

    def _resident(self) -> int:
        """Resident bytes of all processes of the run; those that they started are looked for less often."""
        if self._looks % GRANDCHILDREN == 0:
            self._below = [pid for process in self.processes for pid in process.descendants()]
        self._looks += 1
        first, *others = [process.resident() for process in self.processes]
        self._peak = max(self._peak, first[1])
        return first[0] + sum(now for now, _ in others) + sum(resident(pid)[0] for pid in self._below)

    def record(self) -> Record:
        """The record of the ended run: its own, or one that is written here."""
        record, own = self._handed.get(0), False
        with contextlib.suppress(store.DamagedRecord):
            found = store.read(self.folder / store.RECORD)
            if found.run_id == self.run.run_id():  # else somebody else put it there
                record, own = found, True
        others = [each for rank, each in self._handed.items() if rank > 0 and each.status is not Status.INTERRUPTED]
        elsewhere = next(iter(others), None)
        if record is None or (elsewhere is not None and record.status is not Status.OK):
            record, own = self._written_here(elsewhere), False
        elif self.verdict is not None and record.status is Status.INTERRUPTED:
            (record.status, record.reason), own = self.verdict, False
        if not own:
            _write(record, self.folder)
        for process in self.processes:
            _shorten(process.log)
        return record

    def _written_here(self, elsewhere: Record | None) -> Record:
        if elsewhere is not None:
            elsewhere.reason = f"in another of {len(self.processes)} processes: {elsewhere.reason}"
            return elsewhere
        record = self._snapshot or unreached(self.run, Status.CRASHED, "", self._started_at)
        record.history = Attempt.read(self.folder).history
        record.finished_at, record.failed_phase = _now(), self._phase
        record.status, record.reason = self.verdict or self._cause()
        if record.status is Status.OOM and self._phase is not None and self._peak:
            seconds = time.monotonic() - self._phase_began
            record.phases.append(Phase(self._phase, seconds, "resident", self._peak, peak_resident_bytes=self._peak))
        return record

    def _cause(self) -> tuple[Status, str]:
        """Why a process ended without a record, by its exit code and the end of its log."""
        process, code = next(((p, c) for p, c in self._exits if c != 0), self._exits[0])
        which = "" if len(self.processes) == 1 else f"process {process.rank} of {len(self.processes)} was "
        last = _last_lines(process.log)
        if code == -signal.SIGKILL and _oom_kills() > self._oom_kills:
            return Status.OOM, f"{which}killed by the kernel: out of host memory"
        if code in (1, -signal.SIGABRT) and any(words in line for line in last for words in NO_MEMORY):
            return Status.OOM, "\n".join([f"{which}ended: out of host memory", *last])
        if code == -signal.SIGKILL:
            what = f"{which}killed by SIGKILL (possibly out of memory)"
        elif code < 0:
            what = f"{which}killed by {signal.Signals(-code).name}"
        else:
            what = f"{which.removesuffix('was ')}ended with exit code {code} and without a record"
        return Status.CRASHED, "\n".join([what, *last])


def unreached(run: Run, status: Status, reason: str, started_at: str = "") -> Record:
    """The record of a run that could not write its own."""
    return Record(
        run_id=run.run_id(),
        group=run.group(),
        method=run.title(),
        model=run.model.name,
        task=run.task.name,
        seed=run.seed,
        status=status,
        started_at=started_at or _now(),
        finished_at=_now(),
        config=to_dict(run),
        tunebench_version=__version__,
        reason=reason,
    )


def _write(record: Record, folder: Path) -> None:
    """Write the record, on a full disk in the place of what else the run has left there.

    If that fails too the record says so, and is shown once; the next launch does the run again.
    """
    try:
        store.write(record, folder)
    except OSError:
        try:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            store.write(record, folder)
        except OSError as error:
            record.status = Status.FAILED
            record.reason = f"the record cannot be written: {error}\n{record.reason or ''}".strip()


def _shorten(log: Path) -> None:
    """Keep the beginning and the end of a log that is too long for anybody to read."""
    with contextlib.suppress(OSError):
        size = log.stat().st_size
        if size > 2 * LOG_KEPT:
            with log.open("r+b") as file:
                file.seek(size - LOG_KEPT)
                end = file.read()
                file.seek(LOG_KEPT)
                file.write(f"\n[{size - 2 * LOG_KEPT:,} bytes are left out here]\n".encode() + end)
                file.truncate()


def _oom_kills() -> int:
    """How many processes Linux has killed for want of memory since it started; 0 elsewhere."""
    try:
        words = VMSTAT.read_text().split()
    except OSError:
        return 0
    return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0


def _last_lines(log: Path) -> list[str]:
    """The last lines that are not empty, each cut where it is too long to read."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL), os.SEEK_SET)
        lines = file.read().decode(errors="replace").splitlines()
    return [line[:500] for line in lines if line.strip()][-LOG_LINES:]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

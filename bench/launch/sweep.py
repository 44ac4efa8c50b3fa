"""A list of runs, one after the other: skip what is done, put base runs first, lock, run, go on whatever happens."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from bench.config import Run
from bench.launch.supervise import supervise
from bench.launch.view import View
from bench.measure.environment import hardware_name
from bench.records import store
from bench.records.schema import Record, Status

WORKER = "bench.worker:work"
PRELOAD = "bench.launch.preload"
GRACE = 15.0  # seconds between asking a child to stop and killing it
LOCK_POLL = 0.5  # seconds


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
        list early: `view.interrupted` is true then.
    """
    plan = [(run, folder_of(run)) for run in with_bases(runs)]
    done: dict[str, Record] = {}
    for run, folder in plan:
        record = _finished(run, folder, view)
        if record is not None:
            done[record.run_id] = record
    due = [(run, folder) for run, folder in plan if run.run_id() not in done]
    with view.sweep(total=len(due), done=len(done)):
        for run, folder in due:
            record = _run_locked(run, folder, view, worker, preload, grace)
            if record is not None:
                done[run.run_id()] = record
            if view.interrupted:
                break
    return [done[run.run_id()] for run, _ in plan if run.run_id() in done]


def with_bases(runs: list[Run]) -> list[Run]:
    """The runs without repetitions, and before the first run of each base model and task, the base run."""
    planned: dict[str, Run] = {}
    for run in runs:
        for each in (run,) if run.method is None else (run.base(), run):
            planned.setdefault(each.run_id(), each)
    return list(planned.values())


def folder_of(run: Run) -> Path:
    """Where the run keeps its files on this hardware."""
    return store.run_folder(Path(run.results).absolute(), hardware_name(run.hardware.device), run.run_id())


def _run_locked(run: Run, folder: Path, view: View, worker: str, preload: str, grace: float) -> Record | None:
    """Run in a fresh folder, unless another process has done it meanwhile; None after Ctrl-C without a record."""
    view.start(run)
    try:
        with _lock(folder, view):
            record = _finished(run, folder, view)
            if record is None:
                if folder.exists():
                    shutil.rmtree(folder)
                folder.mkdir(parents=True)
                record, view.interrupted = supervise(run, folder, view, worker, preload, grace)
    except KeyboardInterrupt:
        view.interrupted = True
        return None
    view.end(record)
    return record


def _finished(run: Run, folder: Path, view: View) -> Record | None:
    """The run's record, if there is one that `launch.rerun` leaves alone; a damaged one is named and does not count."""
    if not (folder / store.RECORD).exists() or run.launch.rerun == "all":
        return None
    try:
        record = store.read(folder / store.RECORD)
    except store.DamagedRecord as error:
        view.note(f"a damaged record, the run is done again: {error}")
        return None
    settled = record.status is Status.OK if run.launch.rerun == "failed" else record.status.final
    return record if settled else None


@contextlib.contextmanager
def _lock(folder: Path, view: View) -> Iterator[None]:
    """Keep other sweeps from the same run; waits for one that has it."""
    path = folder.parent / ".locks" / f"{folder.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, poll_interval=LOCK_POLL)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        view.note(f"{folder.name} is being done by another process; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()

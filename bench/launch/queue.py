"""The runs of a sweep: which are done, which are due, and in which order they may start."""

import itertools
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from bench.config import Run
from bench.launch.devices import first_gpu
from bench.measure.environment import hardware_name
from bench.records import store
from bench.records.attempt import Attempt
from bench.records.schema import Record, Status

ASIDE = ".damaged"  # folder beside the runs for what is in the way and must not be lost


class ResultsError(Exception):
    """There is no folder for results; the message is for the user."""


@dataclass
class Job:
    """A run with its folder, and the jobs to be done before: of its base run, and of the stage it starts from."""

    run: Run
    folder: Path
    base: "Job | None" = None
    start: "Job | None" = None
    needed: bool = False  # another run starts from this one, and needs its weights
    attempt: Attempt = field(default_factory=Attempt)

    @property
    def run_id(self) -> str:
        """Of the run."""
        return self.folder.name

    @property
    def lock(self) -> Path:
        """The file whose lock a launcher holds while it does the run."""
        return self.folder.parent / ".locks" / f"{self.run_id}.lock"


def with_bases(runs: list[Run]) -> list[Run]:
    """The runs without repetitions, and before the first that needs it each base run and each stage before."""
    planned: dict[str, Run] = {}
    for run in runs:
        _plan(run, planned)
    return list(planned.values())


def _plan(run: Run, planned: dict[str, Run]) -> None:
    before = run.stage_before()
    if before is not None:
        _plan(before, planned)
        planned[before.run_id()] = before  # which keeps its weights, as another that is the same run may not
    for each in (run,) if run.method is None else (run.base(), run):
        planned.setdefault(each.run_id(), each)


def jobs(runs: list[Run]) -> list[Job]:
    """Everything that the runs need, in order."""
    found: dict[str, Job] = {}
    for run in with_bases(runs):
        base = None if run.method is None else found[run.base().run_id()]
        before = run.stage_before()
        start = None if before is None else found[before.run_id()]
        if start is not None:
            start.needed = True
        found[run.run_id()] = Job(run, folder_of(run), base, start)
    return list(found.values())


def folder_of(run: Run) -> Path:
    """Where the run keeps its files on this hardware."""
    limit = run.hardware.memory_gib
    hardware = hardware_name(run.hardware.device, first_gpu(run), run.launch.processes, limit)
    return store.run_folder(Path(run.results).absolute(), hardware, run.run_id())


def make_results(job: Job) -> None:
    """Make the folder that takes the runs.

    Raises:
        ResultsError: it cannot be made.
    """
    try:
        job.folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"results={job.run.results} cannot be made: {error.strerror}: {error.filename}") from error


def settled(job: Job) -> Record | None:
    """The run's record, if there is one that `launch.rerun` leaves alone.

    Raises:
        DamagedRecord: there is a file that is no record of this run.
    """
    path, run = job.folder / store.RECORD, job.run
    if not path.exists():
        return None
    record = store.read(path)
    if record.run_id != job.run_id:
        raise store.DamagedRecord(path, f"is the record of another run, {record.run_id}")
    if run.launch.rerun == "all" or (run.launch.rerun == "failed" and record.status is not Status.OK):
        return None
    if record.status is Status.OOM and run.train.auto_batch > record.config.get("train", {}).get("auto_batch", False):
        return None  # it was not asked then to try a smaller batch
    if job.needed and record.status is Status.OK and not store.has_weights(job.folder):
        return None
    return record if record.status.final else None


def prepare(job: Job) -> None:
    """Make the folder ready: empty, but for a checkpoint to go on from and the history of the attempts before.

    Raises:
        OSError: it cannot be written.
        DamagedRecord: something that is no record of this run is still there.
    """
    attempt, goes_on = _before(job)
    if job.attempt.micro_batch_size is not None:  # ended out of memory a moment ago
        attempt, goes_on = job.attempt, False
    if job.folder.exists() and not goes_on:
        shutil.rmtree(job.folder)
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / store.RECORD).unlink(missing_ok=True)
    if attempt != Attempt():
        attempt.write(job.folder)
    job.attempt = attempt


def put_aside(job: Job) -> Path:
    """Move the folder out of the way, and return where it is now."""
    place = job.folder.parent / ASIDE
    place.mkdir(exist_ok=True)
    free = (place / f"{job.run_id}-{number}" for number in itertools.count(1))
    return job.folder.rename(next(path for path in free if not path.exists()))


def smaller_batch(job: Job, record: Record) -> bool:
    """After an attempt that ran out of memory in training: prepare one with half the examples at once, if asked to.

    Raises:
        OSError: the folder cannot be written.
    """
    run = job.run
    if record.status is not Status.OOM or record.failed_phase != "train" or not run.train.auto_batch:
        return False
    now = job.attempt.micro_batch_size or run.train.batch_size // (
        run.train.gradient_accumulation * run.launch.processes
    )
    half = next((n for n in range(now // 2, 0, -1) if run.train.batch_size % (n * run.launch.processes) == 0), None)
    if half is None:
        return False
    words = f"oom in train with {now} examples at once: {_first_line(record)}"
    job.attempt = Attempt(half, [*job.attempt.history, words])
    job.attempt.write(job.folder)
    (job.folder / store.RECORD).unlink(missing_ok=True)
    return True


def _before(job: Job) -> tuple[Attempt, bool]:
    """What the attempts before left: their history, and whether there is a checkpoint to go on from."""
    attempt = Attempt.read(job.folder)
    path = job.folder / store.RECORD
    if not path.exists():
        how, unfinished = "ended with its launcher", job.folder.exists()
    else:
        record = store.read(path)
        how = f"{record.status}{f' in {record.failed_phase}' if record.failed_phase else ''}: {_first_line(record)}"
        unfinished = not record.status.final
    if not unfinished or job.run.launch.rerun == "all":
        return Attempt(), False
    goes_on = bool(job.run.train.save_every) and (job.folder / store.CHECKPOINTS).exists()
    kept = attempt.micro_batch_size if job.run.train.auto_batch else None
    return Attempt(kept, [*attempt.history, how]), goes_on


def _first_line(record: Record) -> str:
    return (record.reason or "").partition("\n")[0][:200]

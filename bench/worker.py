"""The child's side: one run, top to bottom, and the record of it, whatever happens."""

import os
import shutil
import traceback
from datetime import UTC, datetime
from pathlib import Path

import torch

import bench
from bench import objective
from bench.config import Run, to_dict
from bench.data import known, tasks
from bench.data.prepare import prepare
from bench.forecast import be_ready
from bench.job import Job
from bench.limits import Unsupported, stored_otherwise, too_few_for_general_text, too_long, unpackable, unsharded
from bench.measure.environment import environment
from bench.measure.memory import is_out_of_memory, limit_memory
from bench.models import load
from bench.records import store
from bench.records.attempt import Attempt
from bench.records.schema import Record, Status
from bench.train import ranks, tracking
from bench.train.compiled import unknown
from bench.train.meter import Diverged, Send
from bench.trained import start as stage


def work(run: Run, folder: Path, send: Send) -> Record:
    """Carry out one run and write its record to `folder`.

    Args:
        run: a run without errors.
        folder: of this run; its name is the run id, its parent's name the hardware.
        send: takes progress events: phases, steps, evaluated examples.

    Returns:
        The record as written. Every failure is a status in it; nothing is raised but what ends the process.
    """
    if run.launch.predict and run.method is not None and ranks.world() == 1:  # several processes are not predicted
        be_ready()
    attempt = Attempt.read(folder)
    tracking.prepare(run.tracker, folder)
    record = Record(
        run_id=run.run_id(),
        group=run.group(),
        method=run.title(),
        model=run.model.name,
        task=run.task.name,
        seed=run.seed,
        status=Status.OK,
        started_at=_now(),
        finished_at="",
        config=to_dict(run),
        tunebench_version=bench.__version__,
        objective=None if run.method is None else run.method.objective,
        history=attempt.history,
    )
    try:
        _carry_out(run, folder, record, send, attempt)
    except KeyboardInterrupt:
        record.status, record.reason = Status.INTERRUPTED, "stopped by the user"
    except (Unsupported, stage.CannotGoOn) as error:
        record.status, record.reason = Status.UNSUPPORTED, str(error)
    except Diverged as error:
        record.status, record.reason = Status.DIVERGED, str(error)
    except Exception as error:  # the outermost frame: whatever else went wrong is the run's result
        record.status = Status.OOM if is_out_of_memory(error) else Status.FAILED
        record.reason, record.traceback = f"{type(error).__name__}: {error}", traceback.format_exc()
    record.finished_at = _now()
    tracking.finish(run.tracker)
    if record.status.final:
        shutil.rmtree(folder / store.CHECKPOINTS, ignore_errors=True)
    _hand_over(record, folder, send)
    return record


def _hand_over(record: Record, folder: Path, send: Send) -> None:
    """Write the record, or leave that to the parent: where the disk refuses it, and for all processes but the first."""
    if ranks.rank() == 0:
        try:
            store.write(record, folder)
            return
        except OSError as error:
            print(f"the record cannot be written: {error}", flush=True)
    if ranks.rank() == 0 or record.status is not Status.OK:
        send({"event": "record", "record": store.as_plain(record)})


def _carry_out(run: Run, folder: Path, record: Record, send: Send, attempt: Attempt) -> None:
    """The story of one run. What is found goes into `record` at once, so that a failure keeps what was reached."""
    device = load.pick_device(run.hardware.device)
    _share_machine(run, device)
    record.environment = environment(device, hardware=folder.parent.name)
    start = stage.start_of(run, folder)
    record.started_from = None if start is None else stage.in_words(run, start)
    if run.hardware.memory_gib:
        record.environment.device_memory_bytes = limit_memory(run.hardware.memory_gib, device)
    info = load.info(run.model, device, run.train.gradient_checkpointing)
    reason = too_long(run, info, run.task.kind) or (run.method.supports(info) if run.method is not None else None)
    reason = reason or stored_otherwise(run, info) or too_few_for_general_text(run, info)
    reason = reason or unpackable(run, info) or (unsharded(run, device) if ranks.sharded() else None)
    reason = reason or (unknown(run.train.compile) if run.method is not None else None)
    if reason is not None:
        raise Unsupported(reason)
    if ranks.rank() == 0:
        (folder / store.EXAMPLES).unlink(missing_ok=True)
    data, record.data, key = known.load(run.task, run.data)
    reason = too_long(run, info, data.kind) or tasks.unsuited(data, info.kind, objective.of(run.method).name)
    if reason is not None:
        raise Unsupported(reason)

    job = Job(run, folder, record, send, device, info.kind, attempt, start, key)
    model, tokenizer = job.load(run.method, data.choices)
    data = prepare(data, tokenizer, run.task, run.data)
    if run.method is not None:
        model = job.train(run.method, model, tokenizer, data, info)
    if ranks.rank() > 0 and not ranks.sharded():
        return  # the first process has the whole model, and evaluates it
    job.evaluate(model, tokenizer, data)
    if run.method is not None and not ranks.sharded():
        job.save(model)


def _share_machine(run: Run, device: str) -> None:
    """Take this process's GPU, or its share of the cores."""
    threads = run.hardware.threads
    if device == "cuda":
        torch.cuda.set_device(ranks.local_rank())
    elif not threads and ranks.world() > 1:
        threads = int(os.environ["OMP_NUM_THREADS"])  # of each process; read too late where torch is imported already
    if threads:
        torch.set_num_threads(threads)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""The child's side: one run, top to bottom, and the record of it, whatever happens."""

import contextlib
import os
import shutil
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import set_seed

import bench
from bench import objective
from bench.config import Run, to_dict
from bench.data import known, tasks
from bench.data.example import Example, TaskData
from bench.data.prepare import general_text, prepare
from bench.evaluate.batches import Room
from bench.evaluate.forgetting import general_loss
from bench.evaluate.scores import decoding, evaluate
from bench.forecast import be_ready, forecast
from bench.limits import stored_otherwise, too_few_for_general_text, too_long, undeclared, unsharded
from bench.measure.environment import environment
from bench.measure.memory import MemoryMeter, is_out_of_memory, limit_memory
from bench.method import Context, Method, ModelInfo, PluginError, place
from bench.models import checkpoint, load
from bench.models.kinds import pretrained, train_heads
from bench.records import store
from bench.records.attempt import Attempt
from bench.records.schema import Evaluation, Record, Scores, Status
from bench.train import loop, ranks, tracking
from bench.train.budget import total_steps
from bench.train.meter import Diverged, Send
from bench.train.precision import compute_precision
from bench.trained import start as stage
from bench.trained.find import Finished


class Unsupported(Exception):
    """The method says that it cannot be used here, and why."""


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
    reason = reason or (unsharded(run, device) if ranks.sharded() else None)
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


@dataclass
class Job:
    """One run with what its phases share."""

    run: Run
    folder: Path
    record: Record
    send: Send
    device: str
    kind: str  # of the model
    attempt: Attempt
    start: Finished | None = None  # whose result is trained on
    data_key: str = ""  # under which the tokenised rows are kept

    def __post_init__(self) -> None:
        self.precision = compute_precision(self.run.train.precision, self.device)
        self.meter = MemoryMeter(self.device, self.run.measure.memory_interval)
        self.record.phases = self.meter.phases
        self.room = Room(self.run.measure.eval_batch_size, recovers=not ranks.sharded())

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Announce and measure a phase, which computes in the run's precision."""
        self.record.failed_phase = name
        self.send({"event": "phase", "name": name, "record": store.as_plain(self.record)})
        with self.meter.phase(name), torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            yield
        self.record.failed_phase = None

    def load(self, method: Method | None, labels: Sequence[str]) -> tuple[Any, Any]:
        """The base model as the method wants it stored, every weight frozen, and the tokenizer."""
        trains_base = method is not None and method.trains_base_weights()
        dtype = torch.float32 if trains_base else load.default_dtype(self.run.model.dtype, self.device)
        quantization = None if method is None else method.quantization()
        with contextlib.ExitStack() as stack:
            weights = None
            if self.start is not None:
                merges = self.phase("merge") if stage.merges(self.run, self.start) else contextlib.nullcontext()
                with merges:
                    whole = stage.weights_of_base(self.run, self.start, self.device, self.folder)
                    weights = stack.enter_context(whole)
            with self.phase("load"):
                return load.load(self.run.model, self.device, quantization, dtype, labels, weights)

    def train(self, method: Method, model: Any, tokenizer: Any, data: TaskData, info: ModelInfo) -> nn.Module:
        """Adapt the model and train it within the budget."""
        run = self.run
        rows = loop.rows(run, data.train, tokenizer, self.kind, data.choices, self.data_key)
        micro = self.attempt.micro_batch_size or loop.configured_micro_batch(run)
        where = self.record.environment
        if run.launch.predict and ranks.rank() == 0 and where is not None:
            with self.phase("predict"):
                self.record.prediction = forecast(run, rows, micro, where, self.precision, len(data.choices), self.send)
        reference = loop.precomputes_reference(run, rows)
        if reference and not run.goes_on():
            rows = self._with_reference(model, rows, tokenizer)
        set_seed(run.seed)
        with self.phase("adapt"):
            examples = tuple(f"{e.prompt}{e.completion}" for e in data.train[:8])
            steps = total_steps(run.budget, loop.lengths(rows), run.train.batch_size)
            context = Context(info, tokenizer, data.instruction, examples, loop.supervised(rows), steps)
            base = pretrained(model, self.kind)
            model = method.adapt(model, context)
            if lie := undeclared(method, base, model):
                raise PluginError(f"{place(type(method))}: {lie}")
            if self.start is not None and run.goes_on():
                stage.go_on(model, self.start)
            if self.kind == "classifier":
                train_heads(model)
            self.record.parameters = load.parameters(model)
        if reference and run.goes_on():
            rows = self._with_reference(model, rows, tokenizer)
        with self.phase("train"):
            self.record.training = loop.train(
                run, model, tokenizer, rows, self.precision, self.device, self.folder, self.send, self.kind, micro,
            )  # fmt: skip
        return model

    def _with_reference(self, model: nn.Module, rows: Any, tokenizer: Any) -> Any:
        with self.phase("reference"):
            return loop.with_reference(model, rows, tokenizer, self.run.measure.eval_batch_size)

    def evaluate(self, model: nn.Module, tokenizer: Any, data: TaskData) -> None:
        """Validation, then the test split once, then general text."""
        settings = self.run.measure
        with self.phase("evaluate"):
            found = Evaluation(self._score("validation", data.validation, model, tokenizer, data))
            self.record.evaluation = found
            found.decoding, found.halved = decoding(self.run.task, data.kind), self.room.history
            if settings.test:
                found.test = self._score("test", data.test, model, tokenizer, data)
            if settings.forgetting:
                found.general_loss = self._general_loss(model, tokenizer)
                before = self._base_general_loss()
                if found.general_loss is not None and before is not None:
                    found.forgetting = found.general_loss - before

    def _score(
        self, split: str, examples: Sequence[Example], model: nn.Module, tokenizer: Any, data: TaskData
    ) -> Scores:
        def report(done: int, of: int) -> None:
            self.send({"event": "evaluate", "split": split, "done": done, "of": of})

        scores, outcomes = evaluate(model, tokenizer, data, examples, self.run.task, self.room, report, self.kind)
        if split == "test" and ranks.rank() == 0:
            for outcome in outcomes:
                store.append_line(self.folder / store.EXAMPLES, outcome.line())
        return scores

    def _general_loss(self, model: nn.Module, tokenizer: Any) -> float | None:
        text, settings = general_text(self.run.data), self.run.measure
        return general_loss(model, tokenizer, text, settings.general_tokens, self.room, self.kind)

    def _base_general_loss(self) -> float | None:
        """The untouched model's loss on general text, from its record beside this one."""
        path = self.folder.parent / self.run.base().run_id() / store.RECORD
        if self.run.method is None or not path.exists():
            return None
        try:
            base = store.read(path).evaluation
        except store.DamagedRecord as error:
            print(error, flush=True)  # into the run's log; the launcher names it to the user and measures it again
            return None
        return None if base is None else base.general_loss

    def save(self, model: nn.Module) -> None:
        """Write the trained weights for their size, and keep them unless they are the base's own or unwanted."""
        method, settings = self.run.method, self.run.launch
        whole = method is not None and method.trains_base_weights()
        with self.phase("save"):
            if settings.keep_model if whole else settings.keep_adapter:
                self.record.checkpoint_bytes = checkpoint.save(model, self.folder / store.WEIGHTS)
            else:
                with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
                    self.record.checkpoint_bytes = checkpoint.save(model, Path(scratch))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

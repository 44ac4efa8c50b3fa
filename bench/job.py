"""The phases of one run, from loading the base to saving what was trained, each announced and measured."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import set_seed

from bench.config import Run
from bench.data.example import Example, TaskData
from bench.data.prepare import general_text
from bench.data.tokens import widths
from bench.evaluate.batches import Room
from bench.evaluate.forgetting import general_loss
from bench.evaluate.scores import decoding, evaluate
from bench.forecast import forecast
from bench.limits import Unsupported, undeclared
from bench.measure.memory import MemoryMeter
from bench.method import Context, Method, ModelInfo, PluginError, place
from bench.models import checkpoint, load
from bench.models.kinds import pretrained, train_heads
from bench.records import store
from bench.records.attempt import Attempt
from bench.records.schema import Evaluation, Record, Scores
from bench.train import loop, ranks
from bench.train.budget import total_steps
from bench.train.meter import Send
from bench.train.packing import together
from bench.train.precision import compute_precision
from bench.trained import start as stage
from bench.trained.find import Finished


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
        """Announce and measure a phase.

        Those that only run the model do so in the run's precision. A step of training sees to that itself, and what
        `adapt` computes of the weights is computed in theirs.
        """
        self.record.failed_phase = name
        self.send({"event": "phase", "name": name, "record": store.as_plain(self.record)})
        lower = self.precision == "bfloat16" and name in ("reference", "evaluate")
        with self.meter.phase(name), torch.autocast(self.device, torch.bfloat16) if lower else contextlib.nullcontext():
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
            if run.train.packing and (reason := together(model, int(widths(rows).max()))):
                raise Unsupported(reason)
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

"""A method on a base model, trained by the common loop as a run would train it, for the clauses to look at."""

import copy
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from datasets import disable_progress_bars
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import set_seed

from bench.advise.trace import Question, Trace, Workload
from bench.config import Budget, Measure, Model, Run, Train, to_dict
from bench.contract import fresh
from bench.data.example import Example
from bench.method import Context, Method, ModelInfo, Quantization, _registry, discover
from bench.models import checkpoint, kinds
from bench.models.load import info, load
from bench.models.logits import decoder_inputs
from bench.models.tiny import TEXT
from bench.records.store import STEPS as STEPS_FILE
from bench.records.store import read_lines
from bench.train import loop

STEPS = 16  # of the training that most clauses look at; twice as many where a new head is learned too
FEW = 4  # of those that are compared with each other step by step
ROWS = 2  # of a step, of four in all: another seed has another order
CHOICES = (" no", " yes")  # of a classifier

Batch = dict[str, Tensor]


@dataclass
class Trained:
    """What a training leaves.

    Attributes:
        model: adapted and trained.
        losses: of every step.
        gradients: of the first step, by the parameters' names.
        before: the base's weights and buffers, copied before anything was done to it.
        after: the very same tensors now.
        seed: torch's seed when `adapt` had returned.
    """

    model: Any
    losses: list[float]
    gradients: dict[str, Tensor]
    before: dict[str, Tensor]
    after: dict[str, Tensor]
    seed: int


class Case:
    """A method on a base model; trains once for all clauses that only look at a trained model."""

    def __init__(self, method: Method, model: str | Model) -> None:
        """Ask the method whether it supports the model.

        Args:
            method: with the settings that shall be checked.
            model: its folder, or its settings.

        Raises:
            ValueError: the method does not support it.
        """
        disable_progress_bars()
        self.method = method
        self.model = model if isinstance(model, Model) else Model(name="tiny", path=model, dtype="float32")
        self.info = info(self.model, "cpu")
        self._bases: dict[torch.dtype, tuple[Any, Any]] = {}
        reason = method.supports(self.info)
        if reason is not None:
            raise ValueError(f"method={method.name} does not support this model: {reason}")

    @property
    def steps(self) -> int:
        """Of the training that most clauses look at."""
        return 2 * STEPS if self.info.kind == "classifier" else STEPS

    def with_checkpointing(self) -> ModelInfo:
        """What the method is told of the model where activations are recomputed."""
        return replace(self.info, gradient_checkpointing=True)

    def base(self, dtype: torch.dtype = torch.float32, quantization: Quantization | None = None) -> tuple[Any, Any]:
        """The base model as the method wants it loaded, or in another quantisation, and its tokenizer."""
        return self._load(quantization or self.method.quantization(), dtype)

    @property
    def plain(self) -> Any:
        """The base model as it is before a method has it quantised."""
        return self._load(None, torch.float32)[0]

    def _load(self, quantization: Quantization | None, dtype: torch.dtype) -> tuple[Any, Any]:
        """Loaded once for each dtype, as a copy takes a tenth of the time."""
        labels = CHOICES if self.info.kind == "classifier" else ()
        if quantization is not None:
            return load(self.model, "cpu", quantization, dtype, labels)
        if dtype not in self._bases:
            self._bases[dtype] = load(self.model, "cpu", None, dtype, labels)
        return copy.deepcopy(self._bases[dtype])

    def context(self, tokenizer: Any, rows: Any = (), steps: int | None = None) -> Context:
        """What a run would give `adapt` beside the model."""
        return Context(self.info, tokenizer, TEXT[0], TEXT[1:], rows, steps)

    @property
    def examples(self) -> list[Example]:
        """Four prompts, each with a right and a wrong answer."""
        prompts, words = zip(*(text.rpartition(" ")[::2] for text in TEXT), strict=True)
        right = [f" {word}" for word in words]
        if self.info.kind == "classifier":
            right = [*CHOICES, *CHOICES]
        wrong = right[1:] + right[:1]
        triples = zip(prompts, right, wrong, strict=True)
        return [Example(str(i), *triple) for i, triple in enumerate(triples)]

    def run(self, seed: int = 0, steps: int = STEPS, **train: Any) -> Run:
        """The settings of a training of so many steps."""
        settings = Train(**{"batch_size": ROWS, "precision": "float32", **train})
        return Run(
            self.method,
            self.model,
            budget=Budget("contract", steps=steps),
            train=settings,
            measure=Measure(warmup_steps=0),
            seed=seed,
        )

    def train(
        self,
        run: Run,
        dtype: torch.dtype = torch.float32,
        quantization: Quantization | None = None,
        dropout: bool = True,
    ) -> Trained:
        """Adapt and train, in the order in which a run does it; without the base's `dropout` if it is False."""
        kind = self.info.kind
        base, tokenizer = self.base(dtype, quantization)
        for module in () if dropout else base.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        rows = loop.rows(run, self.examples, tokenizer, kind, CHOICES)
        before = {name: tensor.detach().clone() for name, tensor in _tensors(base)}
        after = dict(_tensors(base))
        if loop.precomputes_reference(run, rows):
            rows = loop.with_reference(base, rows, tokenizer, len(rows))
        set_seed(run.seed)
        model = self.method.adapt(base, self.context(tokenizer, loop.supervised(rows), run.budget.steps))
        seed = torch.initial_seed()
        if kind == "classifier":
            kinds.train_heads(model)
        with tempfile.TemporaryDirectory() as folder, _first_gradients(model) as gradients:
            place = Path(folder)
            loop.train(run, model, tokenizer, rows, run.train.precision, "cpu", place, lambda _: None, kind)
            losses = [float(line["loss"]) for line in read_lines(place / STEPS_FILE)]
        return Trained(model, losses, gradients, before, after, seed)

    @cached_property
    def traced(self) -> "Future[Trace]":
        """What the advisor's trace of a training says, made in another process meanwhile."""
        workload = Workload(rows=ROWS, mean_tokens=12, longest_tokens=16)
        return fresh.ask(trace, self.method, Question(to_dict(self.run()), workload, "cpu"))

    @cached_property
    def _trained(self) -> Trained | Exception:
        try:
            return self.train(
                self.run(steps=self.steps), dropout=False
            )  # beside whose noise a few steps on few rows show nothing
        except Exception as error:  # every clause that needs it says so, and none trains again in vain
            return error

    @property
    def trained(self) -> Trained:
        """The model trained under seed 0; clauses only read it."""
        if isinstance(self._trained, Exception):
            raise self._trained
        return self._trained

    @cached_property
    def short(self) -> Trained:
        """A few steps under seed 0, their gradients not clipped."""
        return self.train(self.run(steps=FEW, max_grad_norm=0.0))

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory()

    @cached_property
    def saved(self) -> Path:
        """Folder of the trained model's checkpoint."""
        checkpoint.save(self.trained.model, self._folder.name)
        return Path(self._folder.name)

    def reload(self, folder: Path) -> Any:
        """A checkpoint on a fresh base, under another seed than that of the training."""
        base, tokenizer = self.base()
        torch.manual_seed(1)
        return checkpoint.reload(base, folder, self.method, self.context(tokenizer))

    @cached_property
    def batch(self) -> Batch:
        """The four rows with their right answers, padded on the right, as a model takes them."""
        base, tokenizer = self.base()
        texts = [f"{e.prompt}{e.completion}" if self.info.kind == "causal" else str(e.prompt) for e in self.examples]
        batch = dict(tokenizer(texts, padding=True, return_tensors="pt"))
        found = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        if self.info.kind == "seq2seq":
            answers = tokenizer([e.completion for e in self.examples], padding=True, return_tensors="pt")
            found["decoder_input_ids"] = decoder_inputs(base, answers["input_ids"])
        return found

    def logits(self, model: nn.Module) -> Tensor:
        """Of the batch in evaluation mode: [rows, tokens, vocabulary], or [rows, classes]; virtual tokens cut off."""
        with torch.no_grad():
            found = model.eval()(**self.batch).logits.float()
        return found[:, -self.batch["input_ids"].shape[1] :] if self.info.kind == "causal" else found


def trace(method: Method, question: Question) -> Trace:
    """The trace of a training, by a method that need not be registered in this process."""
    from bench.trace import training

    discover()
    with patch.dict(_registry, {method.name: type(method)}):
        return training.trace(question)


def logits(method: Method, model: Model, folder: Path) -> Tensor:
    """Those of a case's batch with a checkpoint."""
    case = Case(method, model)
    return case.logits(case.reload(folder))


@contextmanager
def _first_gradients(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Fills a dictionary with the gradients at the first step of any optimizer inside the block."""
    found: dict[str, Tensor] = {}

    def copy(*_: Any) -> None:
        if not found:
            named = model.named_parameters()
            found.update((name, p.grad.detach().clone()) for name, p in named if p.grad is not None)

    handle = register_optimizer_step_pre_hook(copy)
    try:
        yield found
    finally:
        handle.remove()


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()

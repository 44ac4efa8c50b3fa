"""Trace the training of a run: the harness builds the model and takes two steps, on tensors without content.

The first step is of the typical length and creates the optimizer's state; its operations are counted. The second is of
the longest length; its peak is that of the run.
"""

import gc
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.utils import clip_grad
from torch.utils.data import SequentialSampler
from transformers import Trainer

from bench.advise.questions import PEFT_LOOP
from bench.advise.trace import NOT_COMPILED, NotTraceable, Question, Trace, Workload
from bench.config import Run
from bench.config.run import from_dict
from bench.data.tokens import IGNORED
from bench.limits import too_long
from bench.method import Context, Method
from bench.models import kinds, load
from bench.models.config import plan
from bench.models.tokenizer import stand_in
from bench.objective import of
from bench.trace import depth, kernels, published, quantised
from bench.trace.recorder import Recorder
from bench.trace.result import MICRO_BATCHES, Enough, Marks, result
from bench.trace.unused import bring_back_data
from bench.train import loop
from bench.train.meter import StepMeter
from bench.train.precision import compute_precision

TEXT = "Answer the question.", ("What is it? It is this.",)  # from which soft prompts may start
TOKEN = 5  # any that every vocabulary has
STEPS = 1000  # that a method is told of where the budget is in tokens or epochs, whose number decides nothing here


def trace(question: Question, pretend: bool = True, processes: int = 1) -> Trace:
    """Trace a training.

    Args:
        question: what to train.
        pretend: on tensors without content; else the same is computed in earnest on this CPU, to compare the two.
        processes: that may work on it, 1 or 2; the second is a fork of this one.

    Raises:
        NotTraceable: it is not supported, or reads contents that a trace does not have.
    """
    if question.run.get("loop") == PEFT_LOOP:
        with recording(question.device, pretend) as recorder:
            return published.trace(question, recorder)
    run = from_dict(question.run)
    assert run.method is not None
    if run.train.compile:
        raise NotTraceable(NOT_COMPILED)
    run.model = replace(run.model, weights="random", tokenizer="")
    precision = _precision(run, question.device)
    method = run.method

    def record(layers: int, steps: int = depth.STEPS) -> depth.Recorded:
        with recording(question.device, pretend) as recorder:
            job = _Job(run, method, question.workload, recorder, precision)
            marks = job.build(question.device, layers, steps)
            with suppress(Enough):
                job.train(marks)
            return recorder, marks

    config = plan(run.model, facts=True).config
    alike = question.workload.mean_tokens == question.workload.longest_tokens
    recorder, marks = depth.recorded(record, config, alike, processes) if pretend else record(config.num_hidden_layers)
    return result(recorder, marks, question, max(1, run.train.gradient_accumulation))


@contextmanager
def recording(device: str, pretend: bool) -> Iterator[Recorder]:
    """Inside the block the recorder notes what is computed, or, with `pretend`, what would be."""
    recorder = Recorder(pretend, kernels.workspace)
    with ExitStack() as stack:
        stack.enter_context(patch.object(nn.Module, "_apply", _apply))
        # what autocast has cast is freed where it is used, and not at the end of its block, there in no order
        stack.callback(torch.set_autocast_cache_enabled, torch.is_autocast_cache_enabled())
        torch.set_autocast_cache_enabled(False)
        stack.enter_context(patch.object(torch, "set_autocast_cache_enabled", lambda _: None))
        if pretend:
            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
            # torch groups kernels for tensors of its own classes alone
            stack.enter_context(patch.object(clip_grad, "_has_foreach_support", lambda tensors, device: True))
        stack.enter_context(recorder)
        stack.enter_context(kernels.as_on(device))
        yield recorder


def _precision(run: Run, device: str) -> str:
    if device == "cuda" and run.train.precision == "auto":
        return "bfloat16"
    return compute_precision(run.train.precision, "cpu")


class Rows(list[dict[str, Any]]):
    """Training rows, with what the loop asks a `datasets.Dataset` for beside them, without that library."""

    @property
    def column_names(self) -> list[str]:
        """The keys of a row."""
        return list(self[0])

    def __getitem__(self, key: Any) -> Any:
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)


@dataclass
class _Job:
    """One training with what its parts share."""

    run: Run
    method: Method
    workload: Workload
    recorder: Recorder
    precision: str

    def build(self, device: str, layers: int, steps: int) -> Marks:
        """The adapted model, of so many layers, and which tensors are the base's and which the adapter's.

        Its training will be recorded for so many steps.
        """
        run, method, workload = self.run, self.method, self.workload
        info = load.info(run.model, device, run.train.gradient_checkpointing)
        longest = replace(run, task=replace(run.task, max_length=workload.longest_tokens))
        reason = too_long(longest, info, run.task.kind) or method.supports(info)
        if reason is not None:
            raise NotTraceable(reason)
        labels = [f"class {i}" for i in range(workload.classes)] if info.kind == "classifier" else []
        planned = plan(run.model, facts=True, labels=labels)
        depth.cut(planned.config, layers)
        dtype = torch.float32 if method.trains_base_weights() else load.default_dtype(run.model.dtype, device)
        load.quiet()
        self.kind, self.tokenizer = planned.kind, stand_in(planned)
        model = kinds.build(planned, dtype)
        quantization = method.quantization()
        if quantization is not None:
            quantised.quantise(model, quantization, dtype, planned.kind)
        load.settle(planned, model, self.tokenizer)
        marks = Marks(self.recorder, device, planned.config.vocab_size, layers, steps)
        marks.weights()
        rows = loop.supervised([self._row(workload.mean_tokens, i) for i in range(workload.rows)])
        told = None if run.budget.seconds else run.budget.steps or STEPS
        self.model = method.adapt(model, Context(info, self.tokenizer, *TEXT, rows, told, False))
        if self.kind == "classifier":
            kinds.train_heads(self.model)
        gc.collect()
        marks.adapted(self.model)
        return marks

    def train(self, marks: Marks) -> None:
        """Two steps of the common loop.

        Raises:
            Enough: the marks are there before.
        """
        run, workload = self.run, self.workload
        together = min(run.train.gradient_accumulation, MICRO_BATCHES)
        size = workload.rows * together
        rows = [self._row(length, i) for length in (workload.mean_tokens, workload.longest_tokens) for i in range(size)]
        settings = replace(
            run.train, batch_size=size, gradient_accumulation=together, save_every=0, group_by_length=False
        )
        short = replace(run, train=settings, budget=replace(run.budget, steps=2, tokens=0, epochs=0.0, seconds=0.0))
        short.launch = replace(run.launch, processes=1)
        dataset = self._dataset(rows)
        hook = register_module_forward_pre_hook(marks.entered)
        with (
            hook,
            tempfile.TemporaryDirectory() as folder,
            patch.object(loop, "StepMeter", marks.watching(StepMeter)),
            patch.object(Trainer, "_get_train_sampler", lambda _, rows=None: SequentialSampler(range(2 * size))),
        ):
            loop.train(
                short, self.model, self.tokenizer, dataset, self.precision, "cpu", Path(folder),
                lambda _: None, self.kind, workload.rows,
            )  # fmt: skip

    def _dataset(self, rows: list[dict[str, Any]]) -> Any:
        if not of(self.method).preferences:
            return Rows(rows)
        bring_back_data()
        from datasets import Dataset  # TRL takes nothing else

        return Dataset.from_list(rows)

    def _row(self, length: int, place: int) -> dict[str, Any]:
        """A training row of `length` tokens; where rows shall be padded, all but the first are one token shorter."""
        length -= self.workload.padded and place % self.workload.rows > 0
        answer = min(length - 1, max(1, round(self.workload.labelled * length)))
        if self.kind == "classifier":
            return {"input_ids": [TOKEN] * length, "labels": [0]}
        if self.kind == "seq2seq":
            return {"input_ids": [TOKEN] * length, "labels": [TOKEN] * answer}
        objective = of(self.method)
        if not objective.preferences:
            return {"input_ids": [TOKEN] * length, "labels": [IGNORED] * (length - answer) + [TOKEN] * answer}
        wrong = max(1, answer - self.workload.padded)
        lengths = {"prompt": length - answer, "chosen": answer, "rejected": wrong}
        if objective.mismatched:
            lengths |= {"other_chosen": answer, "other_rejected": wrong}
        row: dict[str, Any] = {f"{part}_ids": [TOKEN] * tokens for part, tokens in lengths.items()}
        known = objective.reference and (self.workload.reference or self.method.trains_base_weights())
        return row | ({f"ref_{name}_logps": -1.0 for name in loop.answers([*row])} if known else {})


def _apply(module: nn.Module, function: Any, recurse: bool = True) -> nn.Module:
    """`nn.Module._apply`, which cannot exchange the contents of fake tensors: the parameters are replaced."""
    for child in module.children() if recurse else ():
        child._apply(function)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            with torch.no_grad():
                changed = function(parameter)
            if changed is not parameter:
                module._parameters[name] = nn.Parameter(changed, parameter.requires_grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = function(buffer)
    return module

"""From what a recorder has noted to a `Trace`: marks of what belongs to what, the replay, the counts."""

import gc
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from peft import PeftModel, get_peft_model_state_dict
from torch import nn

from bench.advise.allocator import BLOCK, CUBLAS_WORKSPACE, RESET, replay
from bench.advise.trace import CATEGORIES, LIBRARIES, Operation, Question, Trace
from bench.models import load
from bench.trace import quantised
from bench.trace.recorder import Recorder

MICRO_BATCHES = 2  # of a step, that are traced; more of them have the same peak
TOGETHER = 64  # tensors that one kernel of a grouped operation takes, about


class Enough(Exception):
    """The steps that shall be recorded are done."""


class Marks:
    """Which tensors belong to what, and when steps begin and end.

    Args:
        recorder: that numbers the tensors.
        device: `cuda` or `cpu`.
        vocabulary: size of the last dimension of logits.
        layers: of the model.
        steps: that are recorded, 1 or 2.
    """

    def __init__(self, recorder: Recorder, device: str, vocabulary: int, layers: int, steps: int = 2) -> None:
        self.recorder, self.device, self.vocabulary = recorder, device, vocabulary
        self.layers, self.steps = layers, steps
        self.of: dict[str, set[int]] = {}
        self.static_bytes = self.trainable = self.total = self.checkpoint_bytes = self.tokens = 0

    def __getstate__(self) -> dict[str, Any]:
        """What was marked, without the model."""
        return {name: value for name, value in vars(self).items() if name not in ("recorder", "_modules")}

    def weights(self) -> None:
        """What is there now is the base's."""
        gc.collect()
        self.of["weights"] = self.recorder.live()

    def adapted(self, model: nn.Module) -> None:
        """What has come since is the adapter's."""
        for tensor in quantised.constants(model):
            self.recorder.note(tensor)
        self.of["adapter"] = self.recorder.live() - self.of["weights"]
        self.static_bytes = sum(self.recorder.sizes[number] for number in self.recorder.live())
        counts = load.parameters(model)
        self.trainable, self.total = counts.trainable, counts.total
        self.checkpoint_bytes = _checkpoint(model)
        self._modules = {id(module): name for name, module in model.named_modules() if name}

    def entered(self, module: nn.Module, _: Any) -> None:
        """A hook for the forward pass of every module: what is allocated from here on is its."""
        self.recorder.module = self._modules.get(id(module), self.recorder.module)

    def begin(self, step: int, model: nn.Module) -> None:
        """A step begins: the record with step 0, whose operations are counted; at the next one the peaks begin anew.

        Raises:
            Enough: as many steps as shall be recorded are done.
        """
        training = (p for p in model.parameters() if p.requires_grad)
        self.of["adapter"] |= {self.recorder.note(p) for p in training} - self.of["weights"]
        if step:
            self.recorder.happens(RESET)
            if step == self.steps:
                self.recorder.over = True
                raise Enough
        else:
            self.recorder.attach(model, self.layers, quantised.constants)
            if self.device == "cuda":
                self.of["workspace"] = {self.recorder.reserve(CUBLAS_WORKSPACE, "cuBLAS")}
            self.recorder.counting = "batch"

    def differentiated(self, model: nn.Module) -> None:
        """All gradients are there, and the optimizer's step begins."""
        self.recorder.counting = self.recorder.counting and "step"
        self.recorder.module = "the optimizer's step"
        gradients = (p.grad for p in model.parameters() if p.grad is not None)
        self.of["gradients"] = {self.recorder.note(gradient) for gradient in gradients}

    def end(self, optimizer: Any) -> None:
        """The optimizer's step is done."""
        self.recorder.counting = self.recorder.module = ""
        states = optimizer.state.values()
        self.of["optimizer"] = {
            self.recorder.note(t) for state in states for t in state.values() if getattr(t, "ndim", 0)
        }

    def watching(self, meter: Any) -> Any:
        """A subclass of the step meter that also marks."""
        marks = self

        class Watching(meter):
            """Marks where each step begins and what it ends with."""

            def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
                super().on_step_begin(*args, **kwargs)
                marks.begin(self._done, kwargs["model"])

            def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
                marks.differentiated(kwargs["model"])

            def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
                marks.end(kwargs["optimizer"])
                super().on_optimizer_step(*args, **kwargs)

            def on_step_end(self, *args: Any, **kwargs: Any) -> Any:
                marks.recorder.over = bool(self._done)
                return super().on_step_end(*args, **kwargs)

            def count(self, examples: int, tokens: Any, trained_tokens: Any, loss: Any) -> None:
                marks.tokens += int(tokens) if marks.recorder.counting else 0
                marks.recorder.layers.rest()
                super().count(examples, tokens, trained_tokens, loss)

        return Watching

    def category(self, number: int) -> str:
        """Which of `CATEGORIES` a tensor belongs to."""
        known = next((name for name, numbers in self.of.items() if number in numbers), None)
        if known is not None:
            return known
        shape = self.recorder.shapes[number]
        if len(shape) > 1 and shape[-1] == self.vocabulary:
            return "logits"
        return "workspace" if self.recorder.names[number].startswith("workspace") else "activations"


def result(recorder: Recorder, marks: Marks, question: Question, micro_batches: int) -> Trace:
    """The trace of what was recorded.

    Args:
        recorder: after two steps.
        marks: of the same.
        question: that was asked.
        micro_batches: of a step of the run.
    """
    events, sizes = recorder.events, recorder.sizes
    start = len(events) - events[::-1].index(RESET)
    live_bytes, at = _peak(events, sizes, start)
    allocator = replay(events, sizes)
    breakdown = dict.fromkeys(CATEGORIES, 0)
    alive = _alive(events, at)
    for number in alive:
        breakdown[marks.category(number)] += -(-sizes[number] // BLOCK) * BLOCK
    breakdown["workspace"] += allocator.peak_allocated - sum(breakdown.values())  # what blocks are larger
    return Trace(
        live_bytes=live_bytes,
        allocated_bytes=allocator.peak_allocated,
        reserved_bytes=allocator.peak_reserved,
        static_bytes=marks.static_bytes,
        breakdown=breakdown,
        peak_operation=recorder.names[events[at]],
        trainable_parameters=marks.trainable,
        total_parameters=marks.total,
        checkpoint_bytes=marks.checkpoint_bytes,
        operations=_operations(recorder, micro_batches),
        dispatches=round(sum(count * _times(part, micro_batches) for part, count in recorder.dispatches.items())),
        tokens=marks.tokens * micro_batches // _traced(micro_batches),
        layers=marks.layers,
        versions={name: version(name) for name in LIBRARIES},
    )


def _peak(events: list[int], sizes: dict[int, int], start: int) -> tuple[int, int]:
    """The highest sum of all tensors from `start` on, bytes, and the place of the event that reaches it."""
    now = highest = at = 0
    for place, event in enumerate(events):
        now += sizes[event] if event > 0 else -sizes.get(-event, 0)
        if place >= start and event > 0 and now > highest:
            highest, at = now, place
    return highest, at


def _alive(events: list[int], at: int) -> set[int]:
    alive: set[int] = set()
    for event in events[: at + 1]:
        (alive.add if event > 0 else alive.discard)(abs(event))
    return alive - {0}


def _traced(micro_batches: int) -> int:
    return min(micro_batches, MICRO_BATCHES)


def _times(part: str, micro_batches: int) -> float:
    return micro_batches / _traced(micro_batches) if part == "batch" else 1.0


def _operations(recorder: Recorder, micro_batches: int) -> tuple[Operation, ...]:
    found: dict[Operation, int] = {}
    counts = Counter((part, operation) for _, part, operation in recorder.operations)
    for (part, o), count in counts.items():
        kind = "optimizer" if part == "step" else o.kind
        alike = replace(o, kind=kind, kernels=max(1, o.kernels // TOGETHER))
        found[alike] = found.get(alike, 0) + round(count * _times(part, micro_batches))
    return tuple(replace(o, count=count) for o, count in found.items())


def _checkpoint(model: Any) -> int:
    """Bytes of the weights that the run would save; see `bench.models.checkpoint`."""
    if isinstance(model, PeftModel):
        tensors = list(get_peft_model_state_dict(model, save_embedding_layers=False).values())
    else:
        tensors = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

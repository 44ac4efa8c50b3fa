"""What is trained where speed is compared: methods on the embedded model, with rows of two kinds."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bench.config import Budget, Measure, Model, Run, Task, Train
from bench.data import stdlib
from bench.data.example import Example
from bench.method import Context, get
from bench.models import load
from bench.train import loop

SEVEN = ("full", "lora", "qlora", "prefix", "prompt", "ptuning", "dpo")
BATCH = 16
TINY = Model()  # the embedded one


@dataclass
class Job:
    """A model that a method has adapted, and the rows that it trains on."""

    run: Run
    model: Any
    tokenizer: Any
    rows: Any
    examples: Sequence[Example]
    device: str = "cpu"

    def again(self, steps: int, **train: Any) -> Run:
        """The run with so many steps, and other settings of the loop."""
        return replace(self.run, budget=Budget(steps=steps), train=replace(self.run.train, **train))

    def autocast(self) -> torch.autocast:
        """The run's precision, for a forward pass and its loss."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.run.train.precision == "bfloat16")

    def parameters(self) -> list[torch.nn.Parameter]:
        """All that trains."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


def docstrings(count: int = 640) -> tuple[Example, ...]:
    """Write the docstring of a function: answers of one line to a page, as those to instructions are."""
    found = stdlib.task_docstrings()
    texts = [docstring.text for docstring in found]
    return tuple(
        Example(str(i), f"Document the {d.kind} {d.name} of the module {d.module}.\n\n", d.text, texts[i - 1])
        for i, d in enumerate(found[:count])
    )


def job(
    method: str,
    examples: Sequence[Example],
    max_length: int = 512,
    model: Model = TINY,
    device: str = "cpu",
    **train: Any,
) -> Job:
    """A job with the method's defaults and a constant learning rate; keywords are settings of the loop."""
    load.quiet()
    settings = {"batch_size": BATCH, "schedule": "constant", "warmup": 0.0, "precision": "float32"} | train
    run = Run(
        get(method)(),
        model=model,
        task=Task(name="docstrings", max_length=max_length, preferences=True),
        budget=Budget(steps=1),
        train=Train(**settings),
        measure=Measure(warmup_steps=0),
    )
    assert run.method is not None
    dtype = torch.float32 if run.method.trains_base_weights() else load.default_dtype(run.model.dtype, device)
    base, tokenizer = load.load(run.model, device, run.method.quantization(), dtype)
    rows = loop.rows(run, examples, tokenizer)
    if "prompt_ids" in rows.column_names:
        rows = loop.with_reference(base, rows, tokenizer, 32)
    torch.manual_seed(0)
    info = load.info(run.model, device)
    adapted = run.method.adapt(base, Context(info, tokenizer, "Document it.", (str(examples[0].prompt),)))
    return Job(run, adapted, tokenizer, rows, examples, device)


def in_scratch(train: Callable[[Path], Any]) -> Any:
    """Call with a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        return train(Path(folder))

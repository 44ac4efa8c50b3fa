"""Training on one GPU, ours beside a bare loop, peft's comparison and TRL's trainers: tokens/s, MFU, peak memory.

Every figure is of rows of exactly one length, half of which carry loss, on random weights. Nothing here needs a GPU:
`tests/test_gpu_training.py` takes it through a tiny model.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from bench.app import plan
from bench.config import Model, Task
from bench.data import fixed
from bench.measure.memory import MemoryMeter
from bench.models.logits import inner_model
from bench.train.precision import compute_precision
from tests.benchmarks.comparators import Pace, bare, ours, peft_style, trl_default
from tests.benchmarks.jobs import Job, job

LOOPS: dict[str, Callable[[Job, int], Pace]] = {
    "ours": ours,
    "bare": bare,
    "peft-style": peft_style,
    "trl-default": trl_default,
}
STEPS = 8
BATCHES = 4  # of rows that there are


@dataclass(frozen=True)
class Cell:
    """What is trained how: `rows` of `length` tokens a step; `compiler` is a backend of torch.compile."""

    method: str
    loop: str
    rows: int
    length: int
    attention: str = "sdpa"
    compiler: str = ""


@dataclass(frozen=True)
class Figures:
    """What was measured of a cell; the reason if it could not be."""

    cell: Cell
    tokens_per_s: float = 0.0
    flops_per_s: float = 0.0
    peak_bytes: int = 0
    failed: str = ""


def cells(methods: Sequence[str], shapes: Sequence[tuple[int, int]], compiler: str, attention: str) -> Iterator[Cell]:
    """Every method in every loop that has its objective, and ours with another compiler and attention."""
    for rows, length in shapes:
        for method in methods:
            for loop in LOOPS:
                if method == "dpo" and loop == "peft-style":
                    continue  # it has supervised training alone
                yield Cell(method, loop, rows, length)
        yield Cell("lora", "ours", rows, length, compiler=compiler)
        yield Cell("lora", "ours", rows, length, attention=attention)


def model(name: str) -> Model:
    """The shape of a model of `conf/model`, with random weights."""
    (run,) = plan("run", [f"model={name}", "model.weights=random"])
    return run.model


def measure(cell: Cell, model: Model, device: str, steps: int = STEPS) -> Figures:
    """Train a cell; what goes wrong, memory first of all, is its result."""
    meter = MemoryMeter(device)
    try:
        trained = _job(cell, replace(model, attention=cell.attention), device)
        with meter.phase("train"):
            pace = LOOPS[cell.loop](trained, steps)
        found = Figures(
            cell,
            tokens_per_s=pace.tokens_per_s,
            flops_per_s=pace.tokens_per_s * flops_per_token(trained, cell.length),
            peak_bytes=meter.phases[0].peak_allocated_bytes or 0,
        )
    except (RuntimeError, ValueError, ImportError) as error:
        found = Figures(cell, failed=f"{type(error).__name__}: {error}".splitlines()[0])
    trained = None
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    return found


def _job(cell: Cell, model: Model, device: str) -> Job:
    sizes = Task(source="fixed", name="fixed", max_length=cell.length, train_examples=BATCHES * cell.rows)
    precision = compute_precision("auto", device)
    examples = fixed.load(sizes).train
    train = {"batch_size": cell.rows, "precision": precision, "compile": cell.compiler}
    return job(cell.method, examples, cell.length, model, device, **train)


def flops_per_token(trained: Job, length: int) -> float:
    """What a step must compute for a token, without what checkpoints compute again.

    Two operations for each weight of a matrix forward, two back to its input, two more back to the weight if it
    trains; and the products of attention, of which a causal model needs half (PaLM, arXiv:2204.02311, appendix B,
    says the same of full fine-tuning).
    """
    inner: Any = inner_model(trained.model)
    config, base = inner.config, {name: p for name, p in inner.named_parameters() if p.ndim == 2}
    embedding = inner.get_input_embeddings().weight
    tied = inner.get_output_embeddings().weight is embedding
    matrices = [p for p in base.values() if p is not embedding or tied]
    weights = sum(_stands_for(p) for p in matrices)
    training = sum(p.numel() for p in matrices if p.requires_grad)
    attention = config.num_hidden_layers * config.num_attention_heads * inner.config.head_dim * length
    return 4.0 * weights + 2.0 * training + 3 * 2.0 * attention


def _stands_for(parameter: torch.nn.Parameter) -> int:
    shape = getattr(getattr(parameter, "quant_state", None), "shape", None)
    return parameter.numel() if shape is None else int(torch.Size(shape).numel())


def table(found: Sequence[Figures], peak_flops_per_s: float | None) -> str:
    """The figures, a line each; MFU where the card's peak is known."""
    lines = [f"{'method':8} {'loop':12} {'batch':>9} {'option':18} {'tokens/s':>10} {'MFU':>6} {'peak GiB':>9}"]
    for each in found:
        cell = each.cell
        option = cell.compiler or ("" if cell.attention == "sdpa" else cell.attention)
        head = f"{cell.method:8} {cell.loop:12} {cell.rows:>3} x{cell.length:>5} {option:18}"
        mfu = f"{each.flops_per_s / peak_flops_per_s:6.1%}" if peak_flops_per_s else "     -"
        figures = f"{each.tokens_per_s:10,.0f} {mfu} {each.peak_bytes / 2**30:9.2f}"
        lines.append(f"{head} {each.failed or figures}")
    return "\n".join(lines)

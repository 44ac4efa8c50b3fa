"""One run, as configured: plain dataclasses that Hydra fills, with every check that needs no model and no data.

`Run` is what the command line composes, what a run's identity is computed from and what travels to the child
process. All errors of a configuration are reported together, each beginning with its key.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from bench.method import BASE, Method, did_you_mean, get

T = TypeVar("T")


@dataclass
class Model:
    """A base model. `path` is a folder, a Hub id, or `embedded:NAME` for one that comes with tunebench."""

    name: str = "tiny-llama"  # as tables and run ids call it; no '/'
    path: str = "embedded:tiny-llama"
    revision: str = "main"  # Hub branch, tag or commit
    weights: str = "pretrained"  # pretrained | random: the architecture alone, for memory and speed
    dtype: str = "auto"  # of the frozen weights: auto (bfloat16 on CUDA, else float32) | float32 | bfloat16 | float16
    attention: str = "sdpa"  # sdpa | eager | flash_attention_2
    trust_remote_code: bool = False  # run Python that comes with the model

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        found = _choice("model.weights", self.weights, "pretrained", "random")
        found += _choice("model.dtype", self.dtype, "auto", "float32", "bfloat16", "float16")
        if not self.path:
            found.append("model.path must be given: a folder, or ORG/NAME on the Hugging Face Hub")
        if not self.name or "/" in self.name:
            found.append(f"model.name must be a plain name without '/', got {self.name!r}")
        return found


@dataclass
class Task:
    """What is learned and how it is scored; `source` names the loader in `bench.data.tasks`."""

    name: str = "pydoc"
    source: str = "pydoc"  # pydoc | arithmetic | sorting | hub
    path: str = ""  # of source=hub: the data set's id
    subset: str = ""  # of source=hub: the data set's configuration
    text_column: str = "text"  # of source=hub
    kind: str = (
        "choice"  # choice (of fixed answers) | generate (exact match) | preference (of pairs) | text (loss only)
    )
    preferences: bool = True  # whether every example has a rejected answer beside the right one
    train_size: int = 0  # examples at most; 0: all
    validation_size: int = 0
    test_size: int = 0
    max_length: int = 256  # tokens; a longer prompt loses its beginning
    seed: int = 0  # of generated data and drawn wrong answers: part of the task, not of the run

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        found = _choice("task.kind", self.kind, "choice", "generate", "preference", "text")
        for key in ("train_size", "validation_size", "test_size"):
            found += _at_least(f"task.{key}", getattr(self, key), 0)
        return found + _at_least("task.max_length", self.max_length, 8)


@dataclass
class Budget:
    """How long to train: exactly one of the four is set, the others are 0."""

    name: str = "short"
    steps: int = 0  # optimizer steps
    tokens: int = 0  # non-padding tokens, rounded up to whole steps
    epochs: float = 0.0
    seconds: float = 0.0  # of step time: evaluation and loading do not count

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        limits = {key: getattr(self, key) for key in ("steps", "tokens", "epochs", "seconds")}
        found = [f"budget.{key} must be >= 0, got {value:g}" for key, value in limits.items() if value < 0]
        given = [f"{key}={value:g}" for key, value in limits.items() if value]
        if len(given) != 1:
            found.append(
                "budget must set exactly one of steps, tokens, epochs, seconds and leave the others at 0, "
                f"got {', '.join(given) or 'none'}"
            )
        return found


@dataclass
class Train:
    """The settings of the common loop; the same for every method unless somebody says otherwise."""

    batch_size: int = 16  # examples per optimizer step
    gradient_accumulation: int = 1  # micro batches that make up one step
    schedule: str = "cosine"  # cosine | linear | constant, after the warm-up
    warmup: float = 0.06  # share of the budget over which the learning rate rises
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: str = "auto"  # of the computation: auto (bfloat16 where the hardware has it) | float32 | bfloat16
    gradient_checkpointing: bool = False
    loss: str = "labelled"  # labelled: logits only where a label is, same value, less memory | full
    log_every: int = 5  # steps between two reports of the loss to the terminal

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        found = _choice("train.schedule", self.schedule, "cosine", "linear", "constant")
        found += _choice("train.precision", self.precision, "auto", "float32", "bfloat16")
        found += _choice("train.loss", self.loss, "labelled", "full")
        for key in ("batch_size", "gradient_accumulation", "log_every"):
            found += _at_least(f"train.{key}", getattr(self, key), 1)
        if self.gradient_accumulation > 0 and self.batch_size % self.gradient_accumulation:
            found.append(
                f"train.batch_size must be a multiple of train.gradient_accumulation, "
                f"got {self.batch_size} and {self.gradient_accumulation}"
            )
        for key in ("weight_decay", "max_grad_norm"):
            found += _at_least(f"train.{key}", getattr(self, key), 0)
        if not 0 <= self.warmup < 1:
            found.append(f"train.warmup must be >= 0 and < 1, got {self.warmup:g}")
        return found


@dataclass
class Measure:
    """What is measured beside the loss, and how."""

    warmup_steps: int = 5  # first steps left out of the timing
    memory_interval: float = 0.002  # seconds between two readings of the allocator, where it keeps no peak of its own
    eval_batch_size: int = 128  # rows at once; a prompt with 16 choices is 16 rows
    max_new_tokens: int = 32  # of generated answers; decoding is greedy
    test: bool = True  # false in a search: choices are made on validation
    forgetting: bool = True  # loss on general text
    general_tokens: int = 16384  # of that text

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        found = _at_least("measure.warmup_steps", self.warmup_steps, 0)
        for key in ("eval_batch_size", "max_new_tokens", "general_tokens"):
            found += _at_least(f"measure.{key}", getattr(self, key), 1)
        if self.memory_interval <= 0:
            found.append(f"measure.memory_interval must be > 0, got {self.memory_interval:g}")
        return found


@dataclass
class Hardware:
    """Where a run computes."""

    device: str = "auto"  # auto: cuda, else mps, else cpu | cpu | cuda | mps
    threads: int = 0  # of the CPU; 0: torch's own choice

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        return _choice("hardware.device", self.device, "auto", "cpu", "cuda", "mps") + _at_least(
            "hardware.threads", self.threads, 0
        )


@dataclass
class Launch:
    """How runs are started; none of it is part of a run's identity."""

    start: str = "forkserver"  # forkserver: one warm process forks every child | spawn: each imports anew
    timeout: float = 0.0  # seconds for one run; 0: none
    rerun: str = "none"  # which finished runs are run again: none | failed | all
    keep_adapter: bool = False  # keep the trained weights beside the record

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        found = _choice("launch.start", self.start, "forkserver", "spawn")
        found += _choice("launch.rerun", self.rerun, "none", "failed", "all")
        return found + _at_least("launch.timeout", self.timeout, 0)


@dataclass
class Run:
    """One run. `method` is None for the evaluation of the untouched base model."""

    method: Method | None
    model: Model = field(default_factory=Model)
    task: Task = field(default_factory=Task)
    budget: Budget = field(default_factory=Budget)
    train: Train = field(default_factory=Train)
    measure: Measure = field(default_factory=Measure)
    hardware: Hardware = field(default_factory=Hardware)
    launch: Launch = field(default_factory=Launch)
    seed: int = 0
    results: str = "results"

    def errors(self) -> list[str]:
        """Every error of this configuration, in the order of its parts; empty if it can run."""
        parts = (self.method, self.model, self.task, self.budget, self.train, self.measure, self.hardware, self.launch)
        found = [error for part in parts if part is not None for error in part.errors()]
        if self.seed < 0:
            found.append(f"seed must be >= 0, got {self.seed}")
        if self.method is not None and self.method.objective == "dpo" and not self.task.preferences:
            found.append(
                f"method={self.method.name} learns from preferences, and task={self.task.name} has none; "
                f"tasks with preferences are marked in `tunebench tasks`"
            )
        return found

    def title(self) -> str:
        """The method as tables call it."""
        return BASE if self.method is None else self.method.title()

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is measured; a base run has no seed, method, budget or training."""
        parts = ("model", "task", "measure") if self.method is None else (
            "method", "model", "task", "budget", "train", "measure", "seed",
        )  # fmt: skip
        whole = to_dict(self)
        return {part: whole[part] for part in parts}

    def group(self) -> str:
        """Hash of the identity without the seed: runs that differ in the seed alone share it."""
        return _hash({key: value for key, value in self.identity().items() if key != "seed"})

    def run_id(self) -> str:
        """`<method>-<model>-<task>-s<seed>-<hash>`: the same configuration always has the same id."""
        return f"{self.title()}-{self.model.name}-{self.task.name}-s{self.seed}-{_hash(self.identity())}"

    def base(self) -> "Run":
        """The run that evaluates this run's base model untouched, shared by all methods and seeds."""
        whole = to_dict(self)
        return from_dict(whole | {"method": None, "seed": 0})


def _hash(settings: dict[str, Any]) -> str:
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def _choice(key: str, value: str, *allowed: str) -> list[str]:
    return [] if value in allowed else [f"{key} must be one of {', '.join(allowed)}, got {value!r}"]


def _at_least(key: str, value: float, least: int) -> list[str]:
    return [] if value >= least else [f"{key} must be >= {least}, got {value:g}"]


def to_dict(run: Run) -> dict[str, Any]:
    """The run as plain data, ready for JSON."""
    return asdict(run)


def from_dict(data: dict[str, Any]) -> Run:
    """The inverse of `to_dict`; methods are found by their `name`.

    Raises:
        ValueError: a key that no dataclass has, or a method that is not registered.
    """
    return _build(Run, data, "")


def _build(cls: type[T], data: dict[str, Any], prefix: str) -> T:
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - known)
    if unknown:
        near = did_you_mean(prefix + unknown[0], [prefix + name for name in known])
        raise ValueError(f"there is no key {prefix + unknown[0]!r}{near}")
    hints = get_type_hints(cls)
    values = {}
    for key, value in data.items():
        if isinstance(value, dict) and (key in ("method", "adapter") or is_dataclass(hints[key])):
            kind: Any = get(value["name"]) if key in ("method", "adapter") else hints[key]
            value = _build(kind, value, f"{prefix}{key}.")
        values[key] = value
    return cls(**values)

"""One run, as configured: what a run's identity is computed from and what travels to the child process."""

import hashlib
import importlib.util
import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from bench.config import stages
from bench.config.checks import choice
from bench.config.loop import WITHOUT_EFFECT, Budget, Hardware, Launch, Measure, Train
from bench.config.model import Model
from bench.config.task import TRANSPORT, Data, Task
from bench.method import BASE, Method, did_you_mean, get
from bench.objective import of

T = TypeVar("T")
TRACKERS = ("none", "tensorboard", "mlflow", "wandb", "trackio")


@dataclass
class Run:
    """One run. `method` is None for the evaluation of the untouched base model.

    `start` is the run whose result is trained on, which `method.start_from` names; None starts from the base. A run and
    its start are two stages of one experiment, and what the first is decides what the second is.
    """

    method: Method | None
    model: Model = field(default_factory=Model)
    task: Task = field(default_factory=Task)
    data: Data = field(default_factory=Data)
    budget: Budget = field(default_factory=Budget)
    train: Train = field(default_factory=Train)
    measure: Measure = field(default_factory=Measure)
    hardware: Hardware = field(default_factory=Hardware)
    launch: Launch = field(default_factory=Launch)
    tracker: str = "none"  # none | tensorboard | mlflow | wandb | trackio: also shows the steps there
    seed: int = 0
    results: str = "results"
    start: "Run | None" = None  # set by tunebench

    def errors(self) -> list[str]:
        """Every error of this configuration, in the order of its parts; empty if it can run."""
        parts = (self.method, self.model, self.task, self.data, self.budget, self.train, self.measure, self.hardware)
        found = [error for part in (*parts, self.launch) if part is not None for error in part.errors()]
        together = self.train.gradient_accumulation * self.launch.processes
        if self.launch.processes > 1 and together > 0 and self.train.batch_size % together:
            found.append(
                f"train.batch_size must be a multiple of launch.processes x train.gradient_accumulation, "
                f"got {self.train.batch_size} and {self.launch.processes} x {self.train.gradient_accumulation}"
            )
        if self.train.compile and self.budget.seconds:
            found.append("train.compile takes its time from a budget of seconds; set budget.steps, tokens or epochs")
        if self.train.packing and self.method is not None and of(self.method).preferences:
            found.append(f"train.packing is of single answers, and method={self.method.name} learns from pairs")
        found += choice("tracker", self.tracker, *TRACKERS)
        if self.tracker in TRACKERS[1:] and importlib.util.find_spec(self.tracker) is None:
            found.append(f"tracker={self.tracker} needs {self.tracker}: pip install 'tunebench[{self.tracker}]'")
        if self.seed < 0:
            found.append(f"seed must be >= 0, got {self.seed}")
        if self.data.train and self.task.source not in ("file", "hub"):
            found.append(f"data.train has no effect on task={self.task.name}, which makes its own; use task=file")
        if (self.data.validation or self.data.test) and not self.data.train:
            found.append("data.train must be given with data.validation or data.test")
        if self.task.source == "file" and not self.data.train:
            found.append("data.train must be given with task=file: a file, a folder or a URL")
        if self.method is not None and of(self.method).preferences and not self._may_have_preferences():
            found.append(
                f"method={self.method.name} learns from preferences, and task={self.task.name} has none; "
                f"tasks with preferences are marked in `tunebench tasks`"
            )
        return found + stages.errors(self.method, self.model, self.start)

    def _may_have_preferences(self) -> bool:
        return self.task.preferences or self.task.source == "file"  # one's own rows are seen when they are read

    def title(self) -> str:
        """The method as tables call it."""
        own = BASE if self.method is None else self.method.title()
        return own if self.start is None else f"{own}-after-{self.start.title()}"

    def goes_on(self) -> bool:
        """Whether the parameters that its start trained train on; else that is merged into the base before."""
        assert self.method is not None
        return self.start is not None and stages.differences(self.method, self.start.method) == []

    def start_folder(self, folder: Path) -> Path:
        """Where the start's files are, for a run whose own are in `folder`: beside them, unless a folder was named."""
        assert self.method is not None
        assert self.start is not None
        named = Path(self.method.start_from)
        return named if named.is_absolute() else folder.parent / self.start.run_id()

    def stage_before(self) -> "Run | None":
        """The start, where it belongs to the same experiment and is done if need be; a run that was named is there."""
        if self.method is None or self.start is None or Path(self.method.start_from).is_absolute():
            return None
        return self.start

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is measured; a base run has no seed, method, budget or training."""
        parts = ("model", "task", "data", "measure") if self.method is None else (
            "method", "model", "task", "data", "budget", "train", "measure", "seed",
        )  # fmt: skip
        whole = to_dict(self)
        for key in TRANSPORT:
            del whole["data"][key]
        for key in WITHOUT_EFFECT:
            del whole["train"][key]
        for key in ("compile", "packing"):
            if not whole["train"][key]:  # as before there was such a setting
                del whole["train"][key]
        stages.forget_name(whole["method"])
        before = {} if self.start is None else {"start": self.start.identity()}
        return {part: whole[part] for part in parts} | before

    def group(self) -> str:
        """Hash of the identity without the seed, its start's included: runs that differ in it alone share the hash."""
        return _hash(_seedless(self.identity()))

    def run_id(self) -> str:
        """`<method>-<model>-<task>-s<seed>-<hash>`: the same configuration always has the same id."""
        return f"{self.title()}-{self.model.name}-{self.task.name}-s{self.seed}-{_hash(self.identity())}"

    def base(self) -> "Run":
        """The run that evaluates this run's base model untouched, shared by all methods and seeds."""
        whole = to_dict(self)
        return from_dict(whole | {"method": None, "seed": 0, "start": None})


def _seedless(identity: dict[str, Any]) -> dict[str, Any]:
    """Without the run's seed; a task has one of its own, which stays."""
    found = {key: value for key, value in identity.items() if key != "seed"}
    return found | ({"start": _seedless(found["start"])} if "start" in found else {})


def _hash(settings: dict[str, Any]) -> str:
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def to_dict(run: Run) -> dict[str, Any]:
    """The run as plain data, ready for JSON."""
    return asdict(run)


def from_dict(data: dict[str, Any]) -> Run:
    """The inverse of `to_dict`; methods are found by their `name`.

    Raises:
        ValueError: a key that no dataclass has, or a method that is not registered.
    """
    return _build(Run, data, "")


def unknown_keys(data: dict[str, Any], cls: type = Run, prefix: str = "") -> list[str]:
    """Every dotted key of `data` that no run has.

    Raises:
        ValueError: a method that is not registered.
    """
    hints = get_type_hints(cls)
    found = [prefix + key for key in data if key not in hints]
    for key in data.keys() & hints.keys():
        part = _part(hints[key], key, data[key])
        found += unknown_keys(data[key], part, f"{prefix}{key}.") if part else []
    return sorted(found)


def _build(cls: type[T], data: dict[str, Any], prefix: str) -> T:
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - known)
    if unknown:
        near = did_you_mean(prefix + unknown[0], [prefix + name for name in known])
        raise ValueError(f"there is no key {prefix + unknown[0]!r}{near}")
    hints = get_type_hints(cls)
    values = {}
    for key, value in data.items():
        part = _part(hints[key], key, value)
        values[key] = _build(part, value, f"{prefix}{key}.") if part else value
    return cls(**values)


def _part(hint: Any, key: str, value: Any) -> Any:
    """The dataclass that a part of a configuration is made into; None for a plain value."""
    if not isinstance(value, dict):
        return None
    if key in ("method", "adapter"):
        return get(value["name"])
    if key == "start":
        return Run
    return hint if is_dataclass(hint) else None

"""What somebody asks of the advisor, resolved without torch: model, task, amount and conditions."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.config import Model, Task
from bench.config.run import from_dict
from bench.config.task import KINDS
from bench.method import did_you_mean
from bench.paths import conf_dir

FILE = "train.jsonl"  # stands for one's own data in the command that is recommended
ANSWERS = 8  # tokens with loss of a row whose answer is one of a few
SHORT = ("classification", "multiple_choice")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Named:
    """A part of a run, and the overrides of `tunebench run` that choose it."""

    part: Any
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """The question, in full.

    Attributes:
        model: the base model.
        task: what is learned; its `max_length` is the longest row.
        objective: a name of `bench.objective`.
        examples: to train on.
        epochs: passes over them.
        mean_tokens: of a typical batch, padding included.
        labelled: share of the tokens that carry loss.
        batch_size: examples of an optimizer step.
        rows: examples at once on one device; 0: as many as fit.
        gpus: that train together, each with a share of the step.
        hours: that the training may take; 0: any.
        checkpoint_bytes: that the trained weights may take on disk; 0: any.
        must_merge: the result has to be one model of the base's architecture, without an adapter beside it.
        must_share: several of the results have to work over one copy of the base.
        methods: titles of those that are in question; empty: all of the objective.
    """

    model: Named
    task: Named
    objective: str = "sft"
    examples: int = 10_000
    epochs: float = 1.0
    mean_tokens: int = 512
    labelled: float = 0.5
    batch_size: int = 16
    rows: int = 0
    gpus: int = 1
    hours: float = 0.0
    checkpoint_bytes: int = 0
    must_merge: bool = False
    must_share: bool = False
    methods: tuple[str, ...] = field(default=())

    @property
    def seq(self) -> int:
        """Tokens of the longest row."""
        found: int = self.task.part.max_length
        return found

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return max(1, -(-round(self.examples * self.epochs) // self.batch_size))


def find_model(name: str) -> Named:
    """The model called `name`: one of `tunebench models`, a folder with a config.json, or a Hub id.

    Raises:
        ValueError: there is none, or only the Hub knows it and cannot be asked.
    """
    known = {file.stem: file for file in sorted((conf_dir() / "model").glob("*.yaml")) if file.stem != "hub"}
    by_path = {_yaml(file)["path"].lower(): stem for stem, file in known.items()} if "/" in name else {}
    name = by_path.get(name.lower(), name)
    if name in known:
        return Named(Model(**_yaml(known[name])), (f"model={name}",))
    if Path(name).expanduser().is_dir() or name.startswith((".", "~", "/")):
        from bench.models.locate import resolve

        folder = resolve(name)
        model = Model(name=Path(folder).resolve().name, path=folder)
    elif _HUB_ID.fullmatch(name):
        _ask_hub(name)
        model = Model(name=name.rpartition("/")[2].lower(), path=name)
    else:
        near = did_you_mean(name, known)
        listed = near if "did you mean" in near else "; `tunebench models` lists the named ones"
        raise ValueError(f"--model: there is no model and no folder {name!r}{listed}")
    return Named(model, ("model=hub", f"model.path={model.path}", f"model.name={model.name}"))


def _ask_hub(name: str) -> None:
    """Fetch the configuration, which is all that a prediction needs.

    Raises:
        ValueError: that is not possible.
    """
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(name, "config.json")
    except (OSError, ValueError) as error:  # of the network, of the Hub and of requests alike
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"--model: {name} is none of `tunebench models`, and its config.json cannot be had from the Hugging Face "
            f"Hub: {reason.rstrip('.')}. A folder with the config.json works too: --model ./folder"
        ) from error


def facts(model: Model) -> dict[str, Any]:
    """What is stated of the architecture in its YAML file or a local config.json; empty where the Hub has it."""
    found = dict(model.architecture)
    if not found:
        from bench.models.locate import resolve

        file = Path(resolve(model.path)) / "config.json"
        try:
            found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        except ValueError as error:  # invalid JSON or invalid UTF-8
            raise ValueError(f"--model: {file} is not valid JSON: {error}") from error
    inner = found.get("text_config")
    return found | inner if isinstance(inner, dict) else found


def positions(model: Model) -> int:
    """Tokens that the architecture says it is made for; 0 where it does not say, or has no such limit."""
    known = facts(model)
    limit = known.get("max_position_embeddings") or known.get("n_positions")
    relative = "relative_attention_num_buckets" in known or str(known.get("model_type", "")).endswith("t5")
    return limit if isinstance(limit, int) and not relative else 0


def find_task(name: str, seq: int | None, examples: int | None) -> Named:
    """The task called `name`: one of `tunebench tasks`, or a kind of task, for one's own data.

    Args:
        name: of either.
        seq: tokens of the longest row; None: as the task says.
        examples: to train on, of a task that may have more; None: all.

    Raises:
        ValueError: there is none.
    """
    folder = conf_dir() / "task"
    known = {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.glob("**/*.yaml"))}
    del known["file"]
    if name in KINDS:
        settings = _yaml(folder / "file.yaml") | {"kind": name}
        overrides = ["task=file", f"task.kind={name}", f"data.train={FILE}"]
    elif name in known:
        settings, overrides = _yaml(known[name]), [f"task={name}"]
        if examples is not None:
            settings["train_examples"] = examples
            overrides.append(f"task.train_examples={examples}")
    else:
        near = did_you_mean(name, [*KINDS, *known])
        listed = near if "did you mean" in near else f"; it is a kind ({', '.join(KINDS)}) or one of `tunebench tasks`"
        raise ValueError(f"--task: there is no task {name!r}{listed}")
    if seq is not None:
        settings["max_length"] = seq
        overrides.append(f"task.max_length={seq}")
    return Named(from_dict({"method": None, "task": settings}).task, tuple(overrides))


def labelled_share(task: Task) -> float:
    """Share of the tokens that carry loss, as it is assumed where nobody says it."""
    if task.kind == "text":
        return 1.0
    return min(0.5, ANSWERS / task.max_length) if task.kind in SHORT else 0.5


def check(request: Request) -> None:
    """Refuse what cannot be asked.

    Raises:
        ValueError: with the option, what it must be, and what was given.
    """
    model: Model = request.model.part
    limit = positions(model)
    if limit and request.seq > limit:
        raise ValueError(f"--seq must be at most {limit:,}, the positions that {model.name} has; got {request.seq:,}")
    if request.mean_tokens > request.seq:
        raise ValueError(f"--mean-tokens must be at most --seq, got {request.mean_tokens:,} and {request.seq:,}")
    if request.batch_size % request.gpus:
        raise ValueError(f"--gpus must divide the {request.batch_size} examples of a step, got {request.gpus}")
    if request.rows and request.batch_size % (request.rows * request.gpus):
        raise ValueError(
            f"--batch times --gpus must divide the {request.batch_size} examples of a step (--batch-size), "
            f"got {request.rows} and {request.gpus}"
        )


def as_data(part: Any) -> dict[str, Any]:
    """A part of a run as plain data."""
    found: dict[str, Any] = asdict(part)
    return found


def pick(names: Sequence[str], known: Sequence[str], hint: str = "") -> None:
    """Refuse a method that is none of those in question.

    Raises:
        ValueError: the message offers a near one.
    """
    for name in names:
        if name not in known:
            raise ValueError(f"--method: there is no method {name!r}{hint or did_you_mean(name, known)}")


def _yaml(file: Path) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found

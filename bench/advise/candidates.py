"""What could be run: every method of the objective, on every adapter, with and without gradient checkpointing."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from bench.advise.request import FILE, Request, as_data, pick
from bench.advise.trace import Question, Workload
from bench.config.run import Run, from_dict, to_dict
from bench.method import Method, discover
from bench.objective import OBJECTIVES, of

if TYPE_CHECKING:
    from bench.advise.card import Card


@dataclass(frozen=True)
class Candidate:
    """One way to train.

    Attributes:
        method: with its defaults.
        overrides: of `tunebench run` that choose it.
        checkpointing: whether activations are recomputed in the backward pass.
    """

    method: Method = field(hash=False)
    overrides: tuple[str, ...]
    checkpointing: bool

    @property
    def title(self) -> str:
        """As tables call the method."""
        return self.method.title()

    @property
    def label(self) -> str:
        """The method, and whether it checkpoints."""
        return f"{self.title} + checkpointing" if self.checkpointing else self.title

    @property
    def mergeable(self) -> bool:
        """Whether the result can be one model of the base's architecture."""
        return self.method.mergeable()

    @property
    def shares_base(self) -> bool:
        """Whether the base stays as it was, so that several results can work over one copy of it."""
        return not self.method.trains_base_weights()

    @property
    def quantised(self) -> bool:
        """Whether the base is stored in fewer bits."""
        return self.method.quantization() is not None


def candidates(request: Request) -> list[Candidate]:
    """All ways to train for the objective that is asked for.

    Raises:
        ValueError: a method is asked for by name that there is not, or not for this objective.
    """
    known = {objective: _methods(objective) for objective in OBJECTIVES}
    here = known[request.objective]
    titles = [method.title() for method, _ in here]
    for other, methods in known.items():
        wrong = [name for name in request.methods if name not in titles and name in [m.title() for m, _ in methods]]
        if wrong:
            raise ValueError(f"--method {wrong[0]} is of the objective {other}: add --objective {other}")
    pick(request.methods, titles)
    chosen = [each for each in here if not request.methods or each[0].title() in request.methods]
    return [Candidate(method, overrides, on) for method, overrides in chosen for on in (False, True)]


def _methods(objective: str) -> list[tuple[Method, tuple[str, ...]]]:
    """The methods of an objective, one with an adapter once for each, and what chooses them."""
    adapters = [name for name, cls in discover().items() if not of(cls).preferences]
    found: list[tuple[Method, tuple[str, ...]]] = []
    for name, cls in discover().items():
        if cls.objective != objective:
            continue
        if "adapter" not in {each.name for each in fields(cls)}:
            found.append((cls(), (f"method={name}",)))
            continue
        for adapter in adapters:
            made = _made({"name": name, "adapter": {"name": adapter}})
            usual = as_data(cls())["adapter"]["name"] == adapter
            found.append((made, (f"method={name}", *([] if usual else [f"method/adapter={adapter}"]))))
    return found


def _made(settings: dict[str, Any]) -> Method:
    method = from_dict({"method": settings}).method
    assert method is not None
    return method


def run_of(candidate: Candidate, request: Request, rows: int, precision: str = "auto") -> Run:
    """The run as one device carries it out, with its share of a step."""
    share = request.batch_size // request.gpus
    plain = {
        "method": as_data(candidate.method),
        "model": as_data(request.model.part),
        "task": as_data(request.task.part),
        "data": {"train": FILE} if request.task.part.source == "file" else {},
        "budget": {"name": "full", "epochs": request.epochs},
        "train": {
            "batch_size": share,
            "gradient_accumulation": share // rows,
            "gradient_checkpointing": candidate.checkpointing,
            "precision": precision,
        },
    }
    return from_dict(plain)


def question(candidate: Candidate, request: Request, rows: int, card: "Card", seq: int = 0) -> Question:
    """What to trace for a candidate with so many rows at once; `seq` is another length of the longest row.

    Of a card only its family of devices counts, and whether it computes bfloat16, which is what a run asks it.
    """
    longest = seq or request.seq
    run = run_of(candidate, request, rows, "bfloat16" if card.native_bfloat16 else "float32")
    if seq:
        run.task = replace(run.task, max_length=seq)
    mean = min(request.mean_tokens, longest)
    padded = rows > 1 and request.task.part.kind != "text"
    workload = Workload(rows, mean, longest, request.labelled, padded, reference=request.epochs >= 1)
    return Question(to_dict(run), workload, "cpu" if card.family == "cpu" else "cuda")


def overrides(candidate: Candidate, request: Request, rows: int) -> list[str]:
    """The arguments of `tunebench run` for it, in full."""
    found = [*request.model.overrides, *request.task.overrides, *candidate.overrides]
    found += ["budget=full", f"budget.epochs={request.epochs:g}"]
    train = Run(None).train
    if request.batch_size != train.batch_size:
        found.append(f"train.batch_size={request.batch_size}")
    accumulation = request.batch_size // (rows * request.gpus)
    if accumulation != train.gradient_accumulation:
        found.append(f"train.gradient_accumulation={accumulation}")
    if candidate.checkpointing:
        found.append("train.gradient_checkpointing=true")
    if request.gpus > 1:
        found.append(f"launch.processes={request.gpus}")
    return found


def errors(candidates: Sequence[Candidate], request: Request) -> list[str]:
    """What is wrong with these runs whatever is predicted of them, as `tunebench run` would say it."""
    found = [error for each in candidates for error in run_of(each, request, 1).errors()]
    return list(dict.fromkeys(found))

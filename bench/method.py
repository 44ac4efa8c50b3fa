"""The method contract: what a fine-tuning method must say of itself, and how the harness finds it.

A method is a dataclass of its own hyper-parameters. Its fields become Hydra keys (`method.rank=16`), typed
and checked. It turns a loaded base model into one to train, and everything else has a working default.
Methods live in the `methods` package, one file each, or in any installed package that names them in the
entry-point group `tunebench.methods`. This module imports no deep-learning library, and neither may the top
level of a method's file: heavy imports go inside its functions.
"""

import difflib
import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from bench.objective import OBJECTIVES

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from torch import Tensor, nn
    from torch.optim import Optimizer

ENTRY_POINTS = "tunebench.methods"
BASE = "base"  # the label of the untouched base model; no method may take it


@dataclass(frozen=True)
class ModelInfo:
    """What a method may know of a base model before any weight is loaded."""

    name: str
    architecture: str  # transformers' `model_type`, such as "llama"
    hidden_size: int
    layers: int
    vocabulary: int
    gradient_checkpointing: bool
    device: str  # "cpu", "cuda" or "mps"
    kind: str = "causal"  # "causal", "classifier" (an encoder with a classification head) or "seq2seq"
    positions: int = 0  # the longest input that the model has places for; 0: any
    quantised: str = (
        ""  # how the weights of its checkpoint are stored already: "gptq", "awq", "hqq", ...; "": as they are
    )


@dataclass(frozen=True)
class Context:
    """What `Method.adapt` is given beside the model."""

    info: ModelInfo
    tokenizer: Any
    instruction: str  # one sentence that says what the task asks, to start a soft prompt from
    examples: tuple[str, ...] = ()  # a few training texts, prompt and completion
    rows: Sequence[Mapping[str, Any]] = ()  # all training rows as token ids, for a start that reads data
    steps: int | None = None  # of the optimizer, that the budget has; None: it is in seconds
    contents: bool = True  # False in a trace, whose tensors have shapes alone: a start that reads them is left out


@dataclass(frozen=True)
class Quantization:
    """How the base weights are stored before an adapter goes on top, by bitsandbytes."""

    data_type: str = "nf4"  # "nf4" or "fp4", of 4 bits
    double: bool = True  # whether the constants of 4 bits are quantised too
    bits: int = 4  # 8: LLM.int8, for which the other two mean nothing


@dataclass
class Method:
    """Base class of all methods; a subclass adds its hyper-parameters as fields and implements `adapt`.

    Every field needs a type and a default that Hydra understands: int, float, str, bool, a list of these, or
    another method (a field named `adapter`).
    """

    # what it learns from, a name of `bench.objective`; "sft": cross-entropy on the completion
    objective: ClassVar[str] = "sft"

    name: str = ""  # a subclass sets it: `method=<name>`
    label: str = ""  # how tables call a named variant; empty: the name
    start_from: str = ""  # a run whose result is trained on, or a method to train before; empty: the untouched base
    learning_rate: float = 1e-3  # peak; each method's default was found by a search sweep

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Return the model to train. Parameters that train have `requires_grad`, all others have not.

        The model comes with every parameter frozen and, where `quantization()` asks for it, quantised.
        """
        raise NotImplementedError(f"method {self.name!r} does not implement adapt()")

    def quantization(self) -> Quantization | None:
        """How to store the base weights; None keeps them in the model's dtype."""
        return None

    def trains_base_weights(self) -> bool:
        """Whether weights of the base itself change; they are then held in float32 as master weights."""
        return False

    def mergeable(self) -> bool:
        """Whether the result, on any model, can be one of the base's architecture, with nothing beside it."""
        return self.trains_base_weights()

    def param_groups(self, model: "nn.Module") -> list[dict[str, Any]] | None:
        """Optimizer parameter groups, as torch.optim takes them; None is one group of all that trains."""
        return None

    def optimizer(
        self, model: "nn.Module", groups: list[dict[str, Any]], defaults: dict[str, Any]
    ) -> "Optimizer | None":
        """The optimizer of this method; None is the loop's AdamW.

        Args:
            model: what `adapt` returned.
            groups: those of `param_groups`, or one of all that trains.
            defaults: `lr`, `betas`, `eps` and `weight_decay` of the loop, as keyword arguments.
        """
        return None

    def after_step(self, model: "nn.Module", step: int, progress: float) -> None:
        """Called after every optimizer step, while the gradients are still there.

        Args:
            model: what `adapt` returned.
            step: which one it was, from 1.
            progress: share of the budget that is spent: of its steps with this one, or of its seconds before it.
        """

    def penalty(self, model: "nn.Module") -> "Tensor | None":
        """What is added to the loss of every step to be differentiated with it; reported losses are without it."""
        return None

    def supports(self, model: ModelInfo) -> str | None:
        """None, or the reason in words why this method cannot be used on this model; asked before loading."""
        return None

    def errors(self) -> list[str]:
        """Every invalid hyper-parameter in a sentence that begins with its key (`method.rank must be ...`)."""
        if self.learning_rate <= 0:
            return [f"method.learning_rate must be > 0, got {self.learning_rate:g}"]
        return []

    def title(self) -> str:
        """How tables and run ids call this method."""
        return self.label or self.name

    @classmethod
    def summary(cls) -> str:
        """First line of the class's docstring; empty if it has none but what @dataclass writes in its place."""
        first = (cls.__doc__ or "").strip().partition("\n")[0]
        return "" if first.startswith(f"{cls.__name__}(") else first


class PluginError(Exception):
    """A method's file cannot be imported, or says of itself what is not so; the message names file and line."""


def place(thing: Any) -> str:
    """Where a class or a function is written, as `FILE:LINE (name)`; its module where there is no source."""
    name = f"{thing.__module__}.{thing.__qualname__}"
    try:
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]} ({name})"
    except (OSError, TypeError):  # typed into an interpreter
        return name


M = TypeVar("M", bound=type[Method])
_registry: dict[str, type[Method]] = {}
_discovered = False


def register(cls: M) -> M:
    """Class decorator that registers a method under its `name`, which becomes `method=<name>`.

    Raises:
        PluginError: the name is missing, taken or reserved, or the class is not a dataclass derived from Method.
    """
    reason = _unfit(cls)
    if reason is not None:
        raise PluginError(f"{place(cls)}: {reason}")
    _registry[cls.name] = cls
    return cls


def _unfit(cls: Any) -> str | None:
    """Why a class cannot be registered as a method, or None."""
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        return "a method must derive from bench.method.Method"
    if "__dataclass_fields__" not in cls.__dict__:
        return "put @dataclass below @register, or its fields are not hyper-parameters"
    if cls.objective not in OBJECTIVES:
        return f"there is no objective {cls.objective!r}{did_you_mean(cls.objective, OBJECTIVES)}"
    lacking = [name for name in OBJECTIVES[cls.objective].settings if name not in cls.__dataclass_fields__]
    if lacking:
        return f"a method of the objective {cls.objective} needs a field `{lacking[0]}`"
    name = cls.name
    if name == BASE or not name.replace("-", "").isalnum() or name != name.lower():
        return f"{name!r} cannot name a method; use lower-case letters, digits and '-'"
    taken = _registry.get(name)
    if taken is not None and (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
        return f"there is a method {name!r} already, at {place(taken)}"
    return None


def discover() -> dict[str, type[Method]]:
    """All methods by name: those of the `methods` package, then those of installed plugins.

    Raises:
        PluginError: a method's module cannot be imported; a benchmark that silently lacks one is worse than none.
    """
    global _discovered
    if not _discovered:
        from importlib.metadata import entry_points  # takes a while to import

        import methods

        for module in pkgutil.iter_modules(methods.__path__):
            if not module.name.startswith("_"):
                _import(f"methods.{module.name}", f"{methods.__path__[0]}/{module.name}.py")
        for entry in entry_points(group=ENTRY_POINTS):
            _plug_in(entry)
        _discovered = True
    return dict(sorted(_registry.items()))


def sources() -> list[Path]:
    """The files of all methods, and of the modules beside them that they share."""
    import methods

    modules = {sys.modules[cls.__module__].__file__ for cls in discover().values()}
    return sorted({*Path(methods.__path__[0]).glob("*.py"), *(Path(file) for file in modules if file)})


def _plug_in(entry: "EntryPoint") -> None:
    """Import what an entry point names, which must register a method of the entry point's own name."""
    package = entry.dist.name if entry.dist else "?"
    origin = f"entry point {entry.name} = {entry.value!r} of the package {package}"
    _import(entry.module, origin)
    registered = _registry.get(entry.name)
    if registered is None or registered.__module__.split(".")[0] != entry.module.split(".")[0]:
        file = getattr(sys.modules[entry.module], "__file__", entry.module)
        own = [name for name, cls in _registry.items() if cls.__module__ == entry.module]
        raise PluginError(f"{origin}: {file} registers {', '.join(map(repr, own)) or 'no method'}, not {entry.name!r}")


def _import(module: str, origin: str) -> None:
    try:
        importlib.import_module(module)
    except PluginError as error:
        raise error if origin in str(error) else PluginError(f"{origin}: {error}") from error
    except Exception as error:  # whatever a plugin raises on import is reported with the line that raised it
        raise PluginError(f"cannot import the method in {origin}: {_raised(error)}") from error


def _raised(error: Exception) -> str:
    """What an import raised, and the line outside Python's own import machinery that raised it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    own = frames[1:]  # the first is `_import`
    if isinstance(error, SyntaxError):
        where = f"{error.filename}:{error.lineno}: "
    else:
        where = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
    message = error.msg if isinstance(error, SyntaxError) else error
    return f"{where}{type(error).__name__}: {message}"


def get(name: str) -> type[Method]:
    """The method class called `name`.

    Raises:
        ValueError: there is none; the message offers near matches.
    """
    known = discover()
    if name not in known:
        raise ValueError(f"there is no method {name!r}{did_you_mean(name, known)}")
    return known[name]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for a near match, else the list of what there is; empty if there is nothing."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are: {', '.join(names)}" if names else ""

"""Libraries that others import where they find them, and that a trace does without: seconds of its start.

They are shown as not installed (None among the loaded modules, which Python itself and every check for optional
libraries take for that) to the process that traces, and to no other.
"""

import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from bench.lean import OPTIONAL
from bench.trace import sizes

NEVER = (*OPTIONAL, "matplotlib", "torchvision", "torchaudio", "tensorboard")
DATA = ("datasets", "pandas")  # TRL needs them, which only preferences are traced with
TENSOR = "torch.distributed.tensor"
STAND_INS = ("sympy", "torch.utils._sympy.functions", "torch._dynamo.source", "torch.fx.experimental.symbolic_shapes")


def leave_out() -> None:
    """Let this process find none of them; to be called before the first of the others is imported."""
    for name in (*NEVER, *DATA):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def bring_back_data() -> None:
    """Let this process find again what TRL needs: those, and all that is in the module of spread tensors."""
    for name in DATA:
        if name in sys.modules and sys.modules[name] is None:
            del sys.modules[name]
    if isinstance(sys.modules.get(TENSOR), _Tensor):
        del sys.modules[TENSOR]


def leave_out_compiler() -> None:
    """Let torch have neither a compiler nor processes beside this one: no trace runs what they make.

    Others decorate functions for the compiler, or look for tensors spread over processes, and load both for that. What
    they import from within torch._dynamo is there.
    """
    import torch

    sys.modules[TENSOR] = _Tensor(TENSOR)
    nothing = ModuleType("torch._dynamo")
    nothing.__path__ = [str(Path(torch.__file__).parent / "_dynamo")]
    for name in ("disable", "allow_in_graph", "assume_constant_result", "graph_break"):
        setattr(nothing, name, _as_it_is)
    nothing.eval_frame = SimpleNamespace(OptimizedModule=type("OptimizedModule", (), {}))  # type: ignore[attr-defined]
    sys.modules[nothing.__name__] = torch._dynamo = nothing
    torch.compile = _as_it_is  # type: ignore[assignment]
    torch.distributed.is_available = lambda: False
    import torch._dynamo.config  # which checkpointing reads

    for name in STAND_INS:
        _StandIn(name, sizes)


def leave_out_patterns() -> None:
    """Let transformers not compile the 900 patterns by which it renames the weights of files, unless it uses one."""
    from transformers import core_model_loading

    core_model_loading.re = SimpleNamespace(**vars(re) | {"compile": _Pattern})


class _Pattern:
    """A regular expression that is compiled when it is used."""

    def __init__(self, *pattern: Any) -> None:
        self._pattern = pattern

    def __getattr__(self, name: str) -> Any:
        if name == "_pattern":  # of a copy that is being made
            raise AttributeError(name)
        return getattr(re.compile(*self._pattern), name)


class _StandIn(ModuleType):
    """Has a module's names as far as `sizes` has them; who asks for another one gets the module itself."""

    def __init__(self, name: str, names: ModuleType) -> None:
        super().__init__(name)
        vars(self).update({each: value for each, value in vars(names).items() if not each.startswith("__")})
        sys.modules[name] = self
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(import_module(parent), own, self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for each in STAND_INS:  # all of them, or one module would have classes of both kinds
            if isinstance(sys.modules.get(each), _StandIn):
                del sys.modules[each]
        return getattr(import_module(self.__name__), name)


class _Tensor(ModuleType):
    """Stands for the module that copying a fake tensor imports to ask whether it is one of that kind."""

    DTensor = type("DTensor", (), {})


def _as_it_is(function: Any = None, *_: Any, **__: Any) -> Any:
    return function or _as_it_is

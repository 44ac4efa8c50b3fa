"""Libraries that others import where they find them, and that a trace does without: seconds of its start.

They are shown as not installed (None among the loaded modules, which Python itself and every check for optional
libraries take for that) to the process that traces, and to no other.
"""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from bench.lean import OPTIONAL

NEVER = (*OPTIONAL, "matplotlib", "torchvision", "torchaudio", "tensorboard")
DATA = ("datasets", "pandas")  # TRL needs them, which only preferences are traced with
TENSOR = "torch.distributed.tensor"


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


class _Tensor(ModuleType):
    """Stands for the module that copying a fake tensor imports to ask whether it is one of that kind."""

    DTensor = type("DTensor", (), {})


def _as_it_is(function: Any = None, *_: Any, **__: Any) -> Any:
    return function or _as_it_is

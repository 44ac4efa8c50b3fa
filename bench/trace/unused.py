"""Libraries that others import where they find them, and that a trace does without: seconds of its start.

They are shown as not installed (None among the loaded modules, which Python itself and every check for optional
libraries take for that) to the process that traces, and to no other.
"""

import sys
from typing import Any
from unittest.mock import patch

NEVER = ("scipy", "sklearn", "boto3", "matplotlib", "torchvision", "torchaudio", "tensorboard")
DATA = ("datasets", "pandas")  # TRL needs them, which only preferences are traced with


def leave_out() -> None:
    """Let this process find none of them; to be called before the first of the others is imported."""
    for name in (*NEVER, *DATA):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def bring_back_data() -> None:
    """Let this process find again what TRL needs."""
    for name in DATA:
        if name in sys.modules and sys.modules[name] is None:
            del sys.modules[name]


def uncompiled() -> Any:
    """Inside the block torch.compile leaves functions as they are.

    bitsandbytes compiles some when it is imported, for which torch loads its whole compiler; no trace runs them.
    """
    import torch

    return patch.object(torch, "compile", _as_it_is)


def _as_it_is(function: Any = None, **_: Any) -> Any:
    return function or _as_it_is

"""Import the deep-learning libraries in three quarters of the time, with nothing missing afterwards."""

import functools
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# What transformers and accelerate import where they find it, for things that nothing here does (detection of objects,
# assisted generation, training on SageMaker). Inside the block they do not find it.
OPTIONAL = ("scipy", "sklearn", "boto3")


@contextmanager
def lean_imports() -> Iterator[None]:
    """A block for imports alone.

    Nothing of what is imported is garbage, so no collection looks for it. What others decorate with `torch.compile`
    is compiled when it is called: bitsandbytes decorates fallbacks of its kernels, and would load the compiler for it.
    """
    import torch

    compile_now, collecting = torch.compile, gc.isenabled()
    hidden = [name for name in OPTIONAL if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    torch.compile = _compile_when_called  # type: ignore[assignment]
    gc.disable()
    try:
        yield
    finally:
        torch.compile = compile_now
        for name in hidden:
            del sys.modules[name]
        if collecting:
            gc.enable()


def _compile_when_called(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`torch.compile`, which begins with the first call."""
    if function is None:
        return functools.partial(_compile_when_called, **options)
    compiled: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        import torch

        if not compiled:
            compiled.append(torch.compile(function, **options))
        return compiled[0](*args, **kwargs)

    return call

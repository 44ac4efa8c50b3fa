"""Another process, which has seen no training: what is computed there depends on nothing that was left in this one.

One child answers all questions of a process, one after the other, since its imports take longer than an answer. It
computes beside this process, so that what does not depend on a training is asked before it.
"""

import atexit
import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_child: "subprocess.Popen[bytes] | None" = None
_asking = ThreadPoolExecutor(1)  # waits for the child


def ask(function: Callable[..., T], *arguments: Any) -> "Future[T]":
    """Call a function in the other process.

    Args:
        function: of a module that the other process can import.
        arguments: that pickle can copy.

    Returns:
        What the function will return, or a RuntimeError with what it raised there.
    """
    return _asking.submit(_answer, list(sys.path), pickle.dumps((function, arguments)))


def _answer(path: list[str], question: bytes) -> Any:
    global _child
    if _child is None or _child.poll() is not None:
        _child = _start(path)
    assert _child.stdin is not None
    assert _child.stdout is not None
    try:
        pickle.dump((path, question), _child.stdin)
        _child.stdin.flush()
        answer, error = pickle.load(_child.stdout)
    except (EOFError, OSError) as lost:
        raise RuntimeError(f"the other process ended with exit code {_child.wait()}") from lost
    if error:
        raise RuntimeError(error)
    return answer


def _start(path: list[str]) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in path)}
    pipe = subprocess.PIPE
    code = f"from bench.lean import lean_imports\nwith lean_imports(): from {__name__} import main\nmain()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, env=environment)
    atexit.register(_close, child)
    return child


def _close(child: "subprocess.Popen[bytes]") -> None:
    assert child.stdin is not None
    with contextlib.suppress(OSError):
        child.stdin.close()
    child.wait()


def main() -> None:
    """Answer until the input ends. Whatever the libraries print goes to standard error."""
    import gc
    import warnings

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore")
    gc.collect()
    gc.freeze()  # the libraries' own objects, or every training would look through them
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            path, question = pickle.load(sys.stdin.buffer)
            sys.path[:] = path
            try:
                function, arguments = pickle.loads(question)
                answer = function(*arguments), ""
            except Exception as error:  # the outermost frame: whatever goes wrong is the answer
                answer = None, f"{type(error).__name__}: {error}"
            pickle.dump(answer, answers)
            answers.flush()

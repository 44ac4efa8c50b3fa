"""Another process, which has seen no training: it reloads checkpoints and says what logits they give.

One child answers all questions of a process, since its imports take longer than an answer.
"""

import atexit
import contextlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config import Model
from bench.method import Method

if TYPE_CHECKING:
    from torch import Tensor

_child: "subprocess.Popen[bytes] | None" = None


def start() -> "subprocess.Popen[bytes]":
    """The child, started where there is none; it ends with this process."""
    global _child
    if _child is None or _child.poll() is not None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(_path())}
        pipe = subprocess.PIPE
        _child = subprocess.Popen([sys.executable, "-m", __name__], stdin=pipe, stdout=pipe, env=environment)
        atexit.register(_close, _child)
    return _child


def logits(method: Method, model: Model, checkpoint: Path) -> "Tensor":
    """Those that the other process computes of a case's batch with a checkpoint.

    Raises:
        RuntimeError: it could not, or has died.
    """
    child = start()
    assert child.stdin is not None
    assert child.stdout is not None
    question = pickle.dumps((method, model, checkpoint))
    try:
        pickle.dump((_path(), question), child.stdin)
        child.stdin.flush()
        found, error = pickle.load(child.stdout)
    except (EOFError, OSError) as lost:
        raise RuntimeError(f"the other process ended with exit code {child.wait()}") from lost
    if error:
        raise RuntimeError(error)
    return found


def _path() -> list[str]:
    return [entry or os.getcwd() for entry in sys.path]


def _close(child: "subprocess.Popen[bytes]") -> None:
    assert child.stdin is not None
    with contextlib.suppress(OSError):
        child.stdin.close()
    child.wait()


def main() -> None:
    """Answer until the input ends. Whatever the libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from bench.contract.case import Case

    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            path, question = pickle.load(sys.stdin.buffer)
            sys.path[:] = path
            try:
                method, model, checkpoint = pickle.loads(question)
                case = Case(method, model)
                answer = case.logits(case.reload(checkpoint)), ""
            except Exception as error:  # the outermost frame: whatever goes wrong is the answer
                answer = None, f"{type(error).__name__}: {error}"
            pickle.dump(answer, answers)
            answers.flush()


if __name__ == "__main__":
    main()

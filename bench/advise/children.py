"""Child processes that answer questions: started, and forked where that can be done; kept for the next ones; ended."""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

WORKERS = 2
MOMENT_S = 0.5  # in which a process that waits ends by itself, unless the machine is very busy
_all: "list[Child]" = []  # that have been started, or kept
_idle: "list[Child]" = []  # of these, which wait for the next question, or will when they have imported
_ready: "list[Child]" = []  # that have
_wanted: list[bool] = []  # not empty inside `staying`


class Child(Protocol):
    """A process that answers questions, as `subprocess.Popen` shows one."""

    stdin: Any
    stdout: Any

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""

    def kill(self) -> None:
        """End it."""

    def wait(self) -> int:
        """The exit code, when it has ended."""


class Ended(Exception):
    """A child process has ended without an answer; the message says how."""


class Copy:
    """A fork of a child process, which answers beside it and ends with it.

    Args:
        original: the process.
        end: ours, of the socket at whose other end the fork answers.
    """

    def __init__(self, original: Child, end: socket.socket) -> None:
        self.stdin, self.stdout = end.makefile("w"), end.makefile("r")
        end.close()  # as far as it is not those two
        self.poll, self.kill = original.poll, original.kill
        self._original = original

    def wait(self) -> int:
        """The exit code of the process that it is a copy of, which is ended; nobody tells that of the copy."""
        self.kill()
        return self._original.wait()


def begin(processes: int = WORKERS) -> None:
    """See to it that so many processes are idle. Their imports take seconds, so they may begin inside `staying`.

    Those that are started together have the imports in common where a process can be forked, which leaves a core for
    what happens meanwhile.
    """
    missing = processes - sum(child.poll() is None for child in _idle)
    if missing > 1 and sys.platform == "linux":
        _start(missing - 1)
    else:
        for _ in range(missing):
            _start()


def keep(child: Child) -> None:
    """Let a process that has its imports behind it answer the next questions."""
    _idle.append(child)
    _ready.append(child)
    if child not in _all:
        _all.append(child)


def idle() -> Child:
    """A process that waits for a question, and does not count as idle any more; a new one if none is left.

    Raises:
        OSError: none can be started.
    """
    while True:
        with suppress(IndexError):  # another thread may have taken the last one
            child = _idle.pop()
            if child.poll() is None:
                return child
            continue
        _start()


def ask(child: Child, question: str, limit_s: float) -> str:
    """The line that a process answers to a line.

    Raises:
        Ended: there is none.
        TimeoutError: the time is over; the process has been ended.
    """
    answer, ready = "", True
    with suppress(OSError, ValueError):  # it ends meanwhile
        child.stdin.write(question + "\n")
        child.stdin.flush()
        ready = bool(select.select([child.stdout], [], [], limit_s)[0])
        answer = child.stdout.readline() if ready else ""
    if not ready:
        child.kill()
        child.wait()
        raise TimeoutError(f"it could not be traced within {limit_s:g} s")
    if not answer.endswith("\n"):
        raise Ended(f"the process that traces it ended with exit code {child.wait()}")
    return answer


@contextmanager
def staying() -> Iterator[None]:
    """Inside the block the processes stay for the next questions: their imports take longer than an answer."""
    _wanted.append(True)
    try:
        yield
    finally:
        _wanted.pop()
        rest()


def rest() -> None:
    """There are no more questions for now; outside `staying` all processes end."""
    if _wanted:
        return
    ending, waiting = _all.copy(), [child for child in _idle if child in _ready]
    for children in (_all, _idle, _ready):
        children.clear()
    for child in ending:
        with suppress(OSError, ValueError):
            child.stdin.close()
    until = time.monotonic() + MOMENT_S
    while time.monotonic() < until and any(child.poll() is None for child in waiting):
        time.sleep(0.005)
    for child in ending:  # one that is at work or still imports does not see that it shall end
        child.kill()
        child.wait()
        child.stdout.close()


def _start(copies: int = 0) -> None:
    """Start a process, and so many copies of it."""
    pairs = [socket.socketpair() for _ in range(copies)]
    child = _process([there.fileno() for _, there in pairs])
    for _, there in pairs:
        there.close()
    started = [child, *(Copy(child, here) for here, _ in pairs)]
    _all.extend(started)
    _idle.extend(started)


def _process(descriptors: list[int]) -> Child:
    """A process of its own; at each of the descriptors a fork of it answers."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-m", "bench.trace", *map(str, descriptors)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env=environment, pass_fds=descriptors,
    )  # fmt: skip

"""Ask for traces: from the cache where they are known, else from child processes, since tracing needs torch.

A trace is kept under a hash of what it depends on: the question without what changes nothing (seed, budget, names), the
versions of the libraries, and the sources of the harness and its methods.
"""

import contextlib
import functools
import hashlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from bench.advise.trace import LIBRARIES, NotTraceable, Question, Trace, TracingFailed
from bench.method import sources
from bench.records.cache_dir import cache_dir
from bench.records.kept import own, write

PARTS = ("advise/trace.py", "advise/allocator.py", "trace", "models", "train", "config", "data/tokens.py", "method.py")
RELEVANT = (
    "gradient_accumulation",
    "gradient_checkpointing",
    "precision",
    "loss",
    "max_grad_norm",
    "batch_size",
    "compile",
)
WORKERS = 2
LIMIT_S = 300  # for one trace; the longest known takes a tenth of that
_idle: "list[Child]" = []  # that wait for the next question
_wanted: list[bool] = []  # not empty inside `staying`
Answer = Trace | NotTraceable


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


Progress = Callable[[int, int], None]


def traces(questions: Sequence[Question], progress: Progress | None = None, workers: int = WORKERS) -> list[Answer]:
    """A trace for each question, or why there is none.

    Args:
        questions: equal ones are traced once.
        progress: told how many of how many are answered.
        workers: processes at once; each takes a core and about 1 GiB.
    """
    keys = [key(question) for question in questions]
    found: dict[str, Answer] = {name: trace for name in set(keys) if (trace := _kept(name)) is not None}
    open_ones = {name: question for name, question in zip(keys, questions, strict=True) if name not in found}
    if progress:
        progress(len(found), len(set(keys)))
    waiting: SimpleQueue[tuple[str, Question]] = SimpleQueue()
    for each in open_ones.items():
        waiting.put(each)
    done: SimpleQueue[tuple[str, Answer]] = SimpleQueue()
    count = min(workers, len(open_ones))
    begin(count - len(_idle))
    alone = count < min(workers, os.cpu_count() or 1)  # a core is left
    threads = [threading.Thread(target=_work, args=(waiting, done, alone), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for _ in open_ones:
        name, answer = done.get()
        found[name] = answer
        if progress:
            progress(len(found), len(set(keys)))
    for thread in threads:
        thread.join()
    if not _wanted:
        _close()
    return [found[name] for name in keys]


def keep(child: Child) -> None:
    """Let a process that has its imports behind it answer the next questions."""
    _idle.append(child)


def begin(processes: int = WORKERS) -> None:
    """Start child processes, whose imports take seconds; before the questions are known only in `staying`.

    They have the imports in common where a process can be forked: then a core is left for what happens meanwhile.
    """
    if sys.platform == "linux" and processes > 1:
        _idle.extend(_with_copies(processes - 1))
    else:
        _idle.extend(_child() for _ in range(processes))


@contextmanager
def staying() -> Iterator[None]:
    """Inside the block the child processes stay for the next questions: their imports take longer than an answer."""
    _wanted.append(True)
    try:
        yield
    finally:
        _wanted.pop()
        if not _wanted:
            _close()


def _close() -> None:
    while _idle:
        child = _idle.pop()
        child.stdin.close()
        child.kill()  # its own end takes half a second, and its imports, where it was not asked, seconds
        child.wait()


def key(question: Question) -> str:
    """A hash of all that the answer depends on."""
    run, workload = question.run, asdict(question.workload)
    model = {name: value for name, value in run["model"].items() if name not in ("name", "content", "tokenizer")}
    method = {name: value for name, value in run["method"].items() if name not in ("label", "learning_rate")}
    train = {name: run["train"][name] for name in RELEVANT if name in run.get("train", {})}
    whole = (question.device, workload, model, run["model"].get("content"), method, train, run["task"]["kind"], _code())
    return hashlib.blake2b(json.dumps(whole, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


@functools.cache
def _code() -> dict[str, str]:
    """The versions of the libraries, and a hash of the sources that make a trace."""
    from importlib.metadata import PackageNotFoundError, version  # takes a while to import

    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    root = Path(__file__).parents[1]
    places = [root / part for part in PARTS]
    files = sorted(f for place in places for f in (place.rglob("*.py") if place.is_dir() else [place]))
    content = hashlib.blake2b(digest_size=16)
    for file in (*files, *sources()):
        content.update(file.read_bytes())
    return found | {"sources": content.hexdigest()}


def _folder() -> Path | None:
    folder = cache_dir()
    return None if folder is None else folder / "traces"


def _kept(name: str) -> Answer | None:
    folder = _folder()
    if folder is None or not own(folder):
        return None
    try:
        return _answer(json.loads((folder / f"{name}.json").read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _keep(name: str, answer: dict[str, Any]) -> None:
    folder = _folder()
    if folder is not None:
        write(folder / f"{name}.json", json.dumps(answer).encode())


def _answer(given: dict[str, Any]) -> Answer:
    return Trace.from_dict(given["trace"]) if "trace" in given else NotTraceable(given["refused"])


def _work(waiting: "SimpleQueue[tuple[str, Question]]", done: "SimpleQueue[tuple[str, Answer]]", alone: bool) -> None:
    """Answer what waits, with a child process, and another where one dies of a question."""
    child: Child | None = None
    while True:
        try:
            name, question = waiting.get_nowait()
        except Empty:
            break
        child = child or _idle_child() or _child()
        try:
            answer = _ask(child, name, question, alone)
        except _Ended:  # of this question, or with the process that it was a copy of
            child = _child()
            try:
                answer = _ask(child, name, question, alone)
            except _Ended:
                code = child.wait()
                answer = TracingFailed(f"tracing failed: the process that traces it ended with exit code {code}")
        done.put((name, answer))
        child = child if child.poll() is None else None
    if child is not None:
        _idle.append(child)


class _Ended(Exception):
    """A child process has ended without an answer."""


def _idle_child() -> Child | None:
    with contextlib.suppress(IndexError):  # none is left, or another thread has taken the last one
        while True:
            child = _idle.pop()
            if child.poll() is None:
                return child
    return None


class _Copy:
    """A fork of a child process, which answers beside it and ends with it.

    Args:
        child: the process.
        line: to the fork.
    """

    def __init__(self, child: Child, line: socket.socket) -> None:
        self.stdin, self.stdout = line.makefile("w"), line.makefile("r")
        self.poll, self.kill, self.wait = child.poll, child.kill, child.wait


def _with_copies(count: int) -> list[Child]:
    """A child process and so many copies of it."""
    lines = [socket.socketpair() for _ in range(count)]
    child = _child(*(there.fileno() for _, there in lines))
    for _, there in lines:
        there.close()
    return [child, *(_Copy(child, here) for here, _ in lines)]


def _child(*copies: int) -> Child:
    """A process of its own; for each of the file descriptors it makes a copy of itself, which answers there."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-m", "bench.trace", *map(str, copies)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env=environment, pass_fds=copies,
    )  # fmt: skip


def _ask(child: Child, name: str, question: Question, alone: bool) -> Answer:
    """The answer of a child, which is kept unless it says nothing of the question but that something went wrong.

    Raises:
        _Ended: there is none.
    """
    asked = {"alone": alone, "run": question.run, "workload": asdict(question.workload), "device": question.device}
    line = ""
    with contextlib.suppress(OSError):
        child.stdin.write(json.dumps(asked) + "\n")
        child.stdin.flush()
        if not select.select([child.stdout], [], [], LIMIT_S)[0]:
            child.kill()
            child.wait()
            return TracingFailed(f"tracing failed: it could not be traced within {LIMIT_S} s")
        line = child.stdout.readline()
    if not line:
        child.kill()
        child.wait()
        raise _Ended
    given: dict[str, Any] = json.loads(line)
    if "failed" in given:
        return TracingFailed(given["failed"])
    _keep(name, given)
    return _answer(given)

"""Ask for traces: from the cache where they are known, else from child processes, since tracing needs torch.

A trace is kept under a hash of what it depends on: the question without what changes nothing (seed, budget, names), the
versions of the libraries, and the sources of the harness and its methods.
"""

import functools
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from bench.advise.trace import NotTraceable, Question, Trace
from bench.method import sources
from bench.records.cache_dir import cache_dir
from bench.records.kept import own, write

LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes")
PARTS = ("advise/trace.py", "advise/allocator.py", "trace", "models", "train", "config", "data/tokens.py", "method.py")
RELEVANT = ("gradient_accumulation", "gradient_checkpointing", "precision", "loss", "max_grad_norm", "batch_size")
WORKERS = 2
_idle: "list[subprocess.Popen[str]]" = []  # children that wait for the next question
_wanted: list[bool] = []  # not empty inside `staying`
Answer = Trace | NotTraceable
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
    threads = [threading.Thread(target=_work, args=(waiting, done), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for _ in open_ones:
        name, answer = done.get()
        found[name] = answer
        if isinstance(answer, Trace):
            _keep(name, answer)
        if progress:
            progress(len(found), len(set(keys)))
    for thread in threads:
        thread.join()
    if not _wanted:
        _close()
    return [found[name] for name in keys]


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
        child.stdin.close()  # type: ignore[union-attr]
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


def _kept(name: str) -> Trace | None:
    folder = _folder()
    if folder is None or not own(folder):
        return None
    try:
        return Trace.from_dict(json.loads((folder / f"{name}.json").read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _keep(name: str, trace: Trace) -> None:
    folder = _folder()
    if folder is not None:
        write(folder / f"{name}.json", json.dumps(trace.to_dict()).encode())


def _work(waiting: "SimpleQueue[tuple[str, Question]]", done: "SimpleQueue[tuple[str, Answer]]") -> None:
    """Answer what waits, with a child process, and another where one dies of a question."""
    child: subprocess.Popen[str] | None = None
    while True:
        try:
            name, question = waiting.get_nowait()
        except Empty:
            break
        child = child or _idle_child() or _child()
        done.put((name, _ask(child, question)))
        child = child if child.poll() is None else None
    if child is not None:
        _idle.append(child)


def _idle_child() -> "subprocess.Popen[str] | None":
    while _idle:
        child = _idle.pop()
        if child.poll() is None:
            return child
    return None


def _child() -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-m", "bench.trace"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip


def _ask(child: "subprocess.Popen[str]", question: Question) -> Answer:
    asked = {"run": question.run, "workload": asdict(question.workload), "device": question.device}
    try:
        child.stdin.write(json.dumps(asked) + "\n")  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]
        line = child.stdout.readline()  # type: ignore[union-attr]
    except OSError:
        line = ""
    if not line:
        return NotTraceable(f"the process that traces it ended with exit code {child.wait()}")
    answer: dict[str, Any] = json.loads(line)
    return Trace.from_dict(answer["trace"]) if "trace" in answer else NotTraceable(answer["error"])

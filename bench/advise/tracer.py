"""Ask for traces: from the cache where they are known, else from child processes, since tracing needs torch.

A trace is kept under a hash of what it depends on: the question without what changes nothing (seed, budget, names), the
versions of the libraries, and the sources of the harness and its methods.
"""

import functools
import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from bench.advise import children
from bench.advise.children import WORKERS, Child
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
    "packing",
)
LIMIT_S = 300  # for one trace; the longest known takes a tenth of that
Answer = Trace | NotTraceable
Waiting = tuple[str, Question, bool]  # the key of a question, itself, and whether it is asked once more
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
    waiting: SimpleQueue[Waiting] = SimpleQueue()
    for name, question in open_ones.items():
        waiting.put((name, question, False))
    done: SimpleQueue[tuple[str, Answer]] = SimpleQueue()
    count = min(workers, len(open_ones))
    with suppress(OSError):  # who needs one says so
        children.begin(count)
    alone, over = count < min(workers, os.cpu_count() or 1), threading.Event()  # a core is left; nobody asks on
    work = (waiting, done, over, alone, count > 1)
    threads = [threading.Thread(target=_work, args=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        for _ in open_ones:
            name, answer = done.get()
            found[name] = answer
            if progress:
                progress(len(found), len(set(keys)))
    finally:
        over.set()
    for thread in threads:
        thread.join()
    children.rest()
    return [found[name] for name in keys]


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


def _work(
    waiting: "SimpleQueue[Waiting]",
    done: "SimpleQueue[tuple[str, Answer]]",
    over: threading.Event,
    alone: bool,
    together: bool,
) -> None:
    """Answer what waits, until nothing does or it is over; a child process is asked until it dies of a question."""
    child: Child | None = None
    while not over.is_set():
        try:
            name, question, again = waiting.get_nowait()
        except Empty:
            break
        try:
            child = child or children.idle()
            answer = _ask(child, name, question, alone)
        except children.Ended as error:
            if together and not again:  # it may have died of a question that another process was asked
                waiting.put((name, question, True))
                child = None
                continue
            answer = TracingFailed(f"tracing failed: {error}")
        except Exception as error:  # or who waits for an answer would wait for ever
            answer = TracingFailed(f"tracing failed: {error}")
        done.put((name, answer))
        child = child if child is not None and child.poll() is None else None
    if child is not None:
        children.keep(child)


def _ask(child: Child, name: str, question: Question, alone: bool) -> Answer:
    """The answer of a child, which is kept unless it says nothing of the question but that something went wrong.

    Raises:
        children.Ended: there is none.
        OSError: nobody can be asked, or the time is over.
    """
    asked = {"alone": alone, "run": question.run, "workload": asdict(question.workload), "device": question.device}
    given = json.loads(children.ask(child, json.dumps(asked), LIMIT_S))
    if "failed" in given:
        return TracingFailed(given["failed"])
    _keep(name, given)
    return _answer(given)

"""A fork of a process that has imported everything answers as the process does that `python -m bench.trace` starts."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from typing import Any

import psutil
import pytest

from bench.advise import children, tracer
from bench.advise.trace import NotTraceable, Question, Trace, TracingFailed, Workload
from bench.config import Model, Run
from bench.config.run import to_dict
from bench.method import get
from bench.models.families import FAMILIES
from bench.trace.serve import fork
from bench.trace.training import trace

WORKLOAD = Workload(rows=2, mean_tokens=16, longest_tokens=24)


def question(method: str, layers: int = 2, family: str = "llama") -> Question:
    facts = FAMILIES[family].facts | {"vocab_size": 512, "num_hidden_layers": layers}
    run = Run(get(method)(), Model("tiny", architecture=facts))
    run.train = replace(run.train, precision="float32", gradient_checkpointing=method == "prefix")
    return Question(to_dict(run), WORKLOAD, "cpu")


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("TUNEBENCH_CACHE", str(tmp_path))


def test_a_fork_answers_as_a_process_of_its_own() -> None:
    child = fork()
    assert child is not None
    assert child.poll() is None
    answers = []
    for asked in (question("lora"), question("prefix"), question("lora")):
        line = {"run": asked.run, "workload": asdict(asked.workload), "device": asked.device}
        child.stdin.write(json.dumps(line) + "\n")
        child.stdin.flush()
        answers.append(json.loads(child.stdout.readline()))
    child.stdin.close()
    assert child.wait() == 0 == child.poll()
    assert "checkpointing" in answers[1]["refused"]
    assert answers[0] == answers[2]
    [own] = tracer.traces([question("lora")])
    assert isinstance(own, Trace)
    assert own == Trace.from_dict(answers[0]["trace"])


def test_a_process_of_its_own_answers_as_this_one() -> None:
    """It does without torch's compiler, without processes and without the libraries of data, until TRL needs them."""
    asked = [question("dpo"), question("full", family="bert")]
    checkpointed = question("lora")
    checkpointed.run["train"]["gradient_checkpointing"] = True
    asked.append(checkpointed)
    assert tracer.traces(asked) == [trace(each) for each in asked]


def test_what_a_trace_does_without_is_not_imported() -> None:
    code = (
        "from bench.trace.unused import leave_out, leave_out_compiler; leave_out(); leave_out_compiler();"
        "import bench.trace.serve, sys; print(*(name for name in sys.argv[1:] if sys.modules.get(name)))"
    )
    names = (
        "torch._dynamo.symbolic_convert", "torch._inductor", "torch.distributed.tensor._ops", "datasets", "pandas",
        "sympy.core",
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, *names, "transformers.trainer"], capture_output=True, text=True)
    assert done.stdout.split() == ["transformers.trainer"], done.stderr


def test_what_is_asked_of_a_stand_in_beyond_its_names_is_torchs_own() -> None:
    code = (
        "from bench.trace.unused import leave_out_compiler; leave_out_compiler();"
        "import sympy as stand_in; import torch.fx.experimental.symbolic_shapes as sizes;"
        "assert sizes.sym_eq((1, [2]), (1, [2])) and not sizes.sym_eq((1, 2), (1, 3));"
        "assert sizes.ShapeEnv.__module__ == sizes.__name__ and not hasattr(sizes, 'no');"
        "import sympy; from torch.utils._sympy.functions import FloorDiv;"
        "assert sympy is not stand_in and issubclass(FloorDiv, sympy.Basic) and stand_in.Symbol is sympy.Symbol"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_process_that_is_kept_is_asked_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def another(*_: int) -> None:
        raise AssertionError("another process was started")

    monkeypatch.setattr(children, "_process", another)
    child = fork()
    assert child is not None
    children.keep(child)
    [answer] = tracer.traces([question("lora")])
    assert isinstance(answer, Trace)
    assert child.poll() == 0


def test_processes_that_begin_early_are_asked_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with children.staying():
        children.begin(2)
        child, other = children._idle
        assert isinstance(other, children.Copy) == (sys.platform == "linux")
        monkeypatch.setattr(children, "_process", None)  # no other is started
        [answer] = tracer.traces([question("lora")])
        assert child.poll() is None
        own = children_of(child)
        assert len(own) == 1
    assert isinstance(answer, Trace)
    assert child.poll() == 0  # by itself
    assert not any(psutil.pid_exists(each.pid) for each in own)  # nor is it left for somebody else to reap


def children_of(child: Any) -> list[psutil.Process]:
    return psutil.Process(child.pid).children()


def test_processes_that_are_at_work_end_when_the_user_interrupts() -> None:
    interrupt = threading.Timer(1.0, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    with children.staying():
        children.begin(2)
        child, _ = children._idle
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            tracer.traces([question("lora"), question("full"), question("prompt")])
    assert child.poll() == -9


def test_copies_answer_beside_the_process_that_they_are_copies_of() -> None:
    asked = [question("lora"), question("full", family="bert")]
    with children.staying():
        children.begin(2)
        found = tracer.traces(asked)
    assert found == [trace(each) for each in asked]


def test_what_ends_with_another_is_asked_once_more() -> None:
    with children.staying():
        children.begin(2)
        child, other = children._idle
        threading.Timer(1.0, child.kill).start()  # while it imports, with both questions asked
        found = tracer.traces([question("lora"), question("full")])
        assert child.poll() == other.poll() == -9
    assert all(isinstance(each, Trace) for each in found)


class Dead:
    """A process that ends with exit code 3 when it is asked, after half an answer."""

    def __init__(self, half: str = "") -> None:
        self.code: int | None = None
        here, there = os.pipe()
        os.write(there, half.encode())
        os.close(there)
        self.stdin, self.stdout = io.StringIO(), os.fdopen(here)

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.code = self.code or -9

    def wait(self) -> int:
        self.code = self.code or 3
        return self.code


@pytest.mark.parametrize("half", ["", '{"trace": {'])
def test_what_a_process_dies_of_is_told(half: str) -> None:
    child = Dead(half)
    children.keep(child)
    [answer] = tracer.traces([question("lora")])
    assert isinstance(answer, TracingFailed)
    assert str(answer) == "tracing failed: the process that traces it ended with exit code 3"


def test_a_process_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise OSError("Cannot allocate memory")

    child = Dead()
    children.keep(child)
    child.code = 3  # it has ended while nobody asked it
    monkeypatch.setattr(subprocess, "Popen", none)
    monkeypatch.setattr(children, "begin", lambda _: None)
    [answer] = tracer.traces([question("lora")])
    assert str(answer) == "tracing failed: Cannot allocate memory"


def test_a_refusal_is_kept_and_a_mishap_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    [first] = tracer.traces([question("prefix")])
    assert "checkpointing" in str(first)

    def another(*_: int) -> None:
        raise OSError("asked again")

    monkeypatch.setattr(children, "_process", another)
    [again] = tracer.traces([question("prefix")])
    assert isinstance(again, NotTraceable)
    assert str(again) == str(first)


def test_a_trace_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "LIMIT_S", 0.01)
    child = fork()
    assert child is not None
    children.keep(child)
    [answer] = tracer.traces([question("lora")])
    assert isinstance(answer, TracingFailed)
    assert str(answer) == "tracing failed: it could not be traced within 0.01 s"
    assert child.poll() == -9


def test_a_fork_that_dies_is_told() -> None:
    child = fork()
    assert child is not None
    child.stdin.write("no question\n")
    child.stdin.flush()
    child.stdin.close()
    assert child.wait() == 1


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_two_processes_find_what_one_does(family: str) -> None:
    name = "n_layer" if family == "gpt2" else "num_hidden_layers"
    asked = question("lora", family=family)
    asked.run["model"]["architecture"] |= {name: 9}
    one, two = trace(asked), trace(asked, processes=2)
    assert one.to_dict() | {"operations": sorted(map(repr, one.operations))} == two.to_dict() | {
        "operations": sorted(map(repr, two.operations))
    }


def test_what_fails_in_both_processes_fails_once() -> None:
    with pytest.raises(NotTraceable, match="checkpointing"):
        trace(question("prefix", layers=9), processes=2)

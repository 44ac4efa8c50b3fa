"""Answer questions, a JSON object a line, with a line each: a trace, or an error. In a process of its own or a fork."""

import ctypes
import gc
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

import torch

from bench.advise.trace import NotTraceable, Question, Workload
from bench.trace.training import trace

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def serve(questions: IO[str], answers: IO[str]) -> None:
    """Answer until the questions end."""
    gc.freeze()  # the libraries' own objects, or every collection would look through them
    gc.enable()
    for line in questions:
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()


def _answer(asked: dict[str, object]) -> dict[str, object]:
    alone = asked.pop("alone", False)
    question = Question(**asked | {"workload": Workload(**asked["workload"])})  # type: ignore[arg-type]
    try:
        return {"trace": trace(question, processes=2 if alone else 1).to_dict()}
    except NotTraceable as error:
        return {"refused": str(error)}
    except ValueError as error:  # of the harness or of a configuration, whose words are meant for users
        return {"failed": str(error)}
    except Exception as error:  # the outermost frame: what cannot be traced has no answer, and says why
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return {"failed": f"tracing failed: {first}"}


@dataclass
class Fork:
    """A copy of this process that serves: as `subprocess.Popen`, as far as the one that asks needs it."""

    pid: int
    stdin: IO[str]
    stdout: IO[str]
    returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._wait(os.WNOHANG)

    def kill(self) -> None:
        """End it."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """The exit code, when it has ended."""
        return self._wait(0) or 0

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def fork() -> Fork | None:
    """A server that has imported everything already, since this process has; None where a fork is not safe.

    To be called before this process computes: what is copied is one thread, and a GPU cannot be shared with it.
    """
    if sys.platform != "linux" or torch.cuda.is_initialized():
        return None
    read_questions, write_questions = os.pipe()
    read_answers, write_answers = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become_server(read_questions, write_answers)
    os.close(read_questions)
    os.close(write_answers)
    return Fork(pid, os.fdopen(write_questions, "w"), os.fdopen(read_answers))


@contextmanager
def copies(descriptors: Sequence[int]) -> Iterator[None]:
    """Inside the block a fork of this process, which has imported everything, serves at each of these sockets."""
    pids = []
    for each in descriptors:
        pids.append(os.fork())
        if pids[-1] == 0:
            _become_server(each, each)
        os.close(each)
    yield
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _become_server(questions: int, answers: int) -> None:
    """Serve and end, whatever happens; nothing of what this process was a copy of goes on, nor is held open."""
    code = 1
    with suppress(BaseException):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        nothing = os.open(os.devnull, os.O_RDWR)
        sources = (questions, nothing, nothing, answers)
        beyond = max(sources) + 4  # where none of them is overwritten
        for place, source in enumerate(sources):
            os.dup2(source, beyond + place)
        for place in range(4):
            os.dup2(beyond + place, place)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        torch.set_num_threads(1)
        serve(os.fdopen(0, closefd=False), os.fdopen(3, "w"))
        code = 0
    os._exit(code)

"""What answers questions for a command: the tracer, with its progress on standard error."""

import sys
from collections.abc import Sequence

from bench.advise import tracer
from bench.advise.trace import NotTraceable, Question, Trace


def answers(questions: Sequence[Question]) -> list[Trace | NotTraceable]:
    """As `bench.advise.tracer.traces`; a terminal sees every step of the way, a file the last one."""
    begin = "\r" if sys.stderr.isatty() else ""

    def progress(done: int, of: int) -> None:
        if of and (begin or done == of):
            print(f"{begin}tracing: {done} of {of}", end="\n" if done == of else "", file=sys.stderr, flush=True)

    return tracer.traces(questions, progress)

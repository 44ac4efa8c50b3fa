"""What a clause of the contract finds: kept, unsupported with a reason, or broken, with the place to look at."""

import functools
import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from bench.method import Method, place

if TYPE_CHECKING:
    from bench.contract.case import Case


class Unsupported(Exception):
    """The method says that it does not go with what the clause asks for; the message is its reason."""


@dataclass(frozen=True)
class Outcome:
    """One clause's outcome: kept if both sentences are None.

    Attributes:
        name: of the clause.
        broken: what was expected, what was seen, and where to look.
        unsupported: why the method does without this; no fault.
    """

    name: str
    broken: str | None = None
    unsupported: str | None = None

    @property
    def word(self) -> str:
        """`kept`, `unsupported` or `broken`."""
        return "broken" if self.broken else "unsupported" if self.unsupported else "kept"

    def __str__(self) -> str:
        reason = self.broken or self.unsupported
        return f"{self.name}: {self.word}" + (f": {reason}" if reason else "")


Clause = Callable[["Case"], Outcome]
Check = Callable[["Case"], str | None]


def clause(hook: str) -> Callable[[Check], Clause]:
    """Make a function that returns None, or what was expected and seen, a clause.

    Args:
        hook: the function of a method that decides it, where one looks when it is broken; empty: the class.
    """

    def made(check: Check) -> Clause:
        @functools.wraps(check)
        def run(case: "Case") -> Outcome:
            name = check.__name__
            try:
                broken = check(case)
            except Unsupported as reason:
                return Outcome(name, unsupported=str(reason))
            except Exception as error:  # a clause is the outermost frame of a method's code, whatever that raises
                return Outcome(name, broken=f"expected no error, saw {_first_line(error)}{_raised(error, case, hook)}")
            return Outcome(name, broken and f"{broken}; look at {look_at(case.method, hook)}")

        return run

    return made


def look_at(method: Method, hook: str) -> str:
    """Where a method implements a hook, as `FILE:LINE (Class.hook)`; its class where it leaves the default."""
    for cls in type(method).__mro__:
        if hook in vars(cls) and cls is not Method and inspect.isfunction(vars(cls)[hook]):
            return place(vars(cls)[hook])
    return place(type(method))


def _raised(error: BaseException, case: "Case", hook: str) -> str:
    """The innermost line of the method's own file that the error came through; else who raised it, and the hook."""
    frames: list[tuple[FrameType, int]] = list(traceback.walk_tb(error.__traceback__))
    own: Any = inspect.getsourcefile(type(case.method))
    mine = [(f, n) for f, n in frames if f.f_code.co_filename == own]
    frame, line = (mine or frames)[-1]
    where = f"{frame.f_code.co_filename}:{line} ({frame.f_code.co_qualname})"
    return f"; look at {where}" if mine else f" from {where}; look at {look_at(case.method, hook)}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

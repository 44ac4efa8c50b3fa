"""Exclusive locks on files, which a process shares with the children that it gives them to.

The system releases such a lock when the last process that holds it is gone, however it ended. So a run stays locked
until its child is gone too, even if the child outlives the launcher that started it by a moment.
"""

import contextlib
import fcntl
import os
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any


class Lock:
    """A held lock. Pickled as an argument of a new process, it is held by that process too."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> "Lock | None":
        """Lock `path`, which is made if need be with its folder; None if another process holds it.

        Raises:
            OSError: the file cannot be made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if not _is(path, descriptor):  # somebody removed the file while we opened it
            os.close(descriptor)
            return cls.take(path)
        with contextlib.suppress(OSError):  # a full disk need not keep anybody from locking
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        return cls(descriptor)

    def release(self) -> None:
        """Let go of it; a child that has it keeps it."""
        os.close(self._descriptor)

    def __getstate__(self) -> dict[str, Any]:
        return {"descriptor": DupFd(self._descriptor)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._descriptor = state["descriptor"].detach()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock; the file is not touched, which may be somebody else's."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def holder(path: Path) -> str:
    """The process that holds the lock, in words."""
    try:
        return f"process {int(path.read_text())}"
    except (OSError, ValueError):
        return "another process"


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

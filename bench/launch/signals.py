"""Ctrl-C and its kin, counted: a launcher that is interrupted in the middle of a line would lose what it did there."""

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last two: a scheduler's, and a terminal's that closes


class Signals:
    """Counts stopping signals inside a `with` block; only a main thread can, elsewhere the count stays 0.

    Attributes:
        count: how many have come.
        name: what came last, as the user calls it.
        source: becomes readable with each, to end a wait.
    """

    def __init__(self) -> None:
        self.count, self.name = 0, ""
        self._waits = True  # for the launcher's loop to look
        self.source, self._wake = socket.socketpair()
        for end in (self.source, self._wake):
            end.setblocking(False)
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            self._wakeup = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
            for number in STOPPING:
                if signal.getsignal(number) is not signal.SIG_IGN:  # a shell has put us in the background, or nohup
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]
            signal.set_wakeup_fd(self._wakeup)
        self.source.close()
        self._wake.close()

    def drain(self) -> None:
        """Empty `source`."""
        try:
            while self.source.recv(64):
                pass
        except BlockingIOError:
            pass

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a second signal end a block in which the launcher cannot look, by KeyboardInterrupt."""
        self._waits = False
        try:
            yield
        finally:
            self._waits = True

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        if self.count > 1 and not self._waits:
            raise KeyboardInterrupt

"""The first code of a child process: cut it loose from the terminal, tie it to its parent, start the worker.

The child leads a session of its own, so a Ctrl-C on the terminal reaches the parent alone, which asks the child to
stop through the channel. When the channel closes the parent is gone, and the child goes too. Events travel as JSON
lines: the parent can read them at its own pace and never waits for the rest of a message.
"""

import faulthandler
import importlib
import json
import os
import pickle
import signal
import socket
import sys
import threading
from io import TextIOWrapper
from pathlib import Path
from typing import Any

LOG = "worker.log"
STOP = b"stop\n"


class Sender:
    """Sends events to the parent; threads may share it."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self._lock = threading.Lock()

    def __call__(self, event: dict[str, Any]) -> None:
        """Send one event, a dictionary that JSON can hold."""
        line = json.dumps(event).encode() + b"\n"
        with self._lock:
            self.channel.sendall(line)


def main(run: bytes, folder: Path, channel: socket.socket, target: str, preload: str) -> None:
    """Run the worker in this process.

    Args:
        run: the pickled `Run`; it is unpickled here, where an error lands in the log.
        folder: of the run; exists.
        channel: to the parent.
        target: the worker, as `module:function`.
        preload: the module to import before it, which the fork server has imported already.
    """
    os.setsid()
    _redirect_output(folder / LOG)
    threading.Thread(target=_obey, args=(channel,), name="command-channel", daemon=True).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # the parent blocked it while it started us
    importlib.import_module(preload)
    _resolve(target)(pickle.loads(run), folder, Sender(channel))


def _redirect_output(log: Path) -> None:
    """Send stdout and stderr to `log`, those of C libraries and of a crash too."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
        assert isinstance(stream, TextIOWrapper)
        stream.reconfigure(line_buffering=True)
    os.close(descriptor)
    faulthandler.enable()


def _obey(channel: socket.socket) -> None:
    """Turn the parent's word into KeyboardInterrupt in the main thread, and its end into ours."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    try:
        while channel.recv(len(STOP)):
            signal.pthread_kill(main_thread, signal.SIGINT)
    finally:
        os._exit(1)


def _resolve(target: str) -> Any:
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)

"""The first code of a child process: cut it loose from the terminal, tie it to its parent, start the worker.

The child leads a session of its own, so a Ctrl-C on the terminal reaches the parent alone, which asks the child to
stop through the channel. When the channel closes the parent is gone, and the child goes too with all it started; on
Linux the kernel kills it besides, for it may be stopped or stuck. Events travel as JSON lines: the parent can read
them at its own pace and never waits for the rest of a message.
"""

import contextlib
import ctypes
import faulthandler
import importlib
import json
import os
import pickle
import resource
import signal
import socket
import sys
import threading
import traceback
from dataclasses import dataclass
from io import TextIOWrapper
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from bench.launch.locks import Lock
from bench.launch.signals import STOPPING

LOG = "worker.log"
STOP = b"stop\n"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass
class Work:
    """What a child is given.

    Attributes:
        run: the pickled `Run`; it is unpickled in the child, where an error lands in the log.
        folder: of the run; exists.
        log: name of the file in it that takes all output.
        target: the worker, as `module:function`.
        preload: the module to import before it, which the fork server has imported already.
        environment: variables to set first.
        accelerate: file of `accelerate config`, whose settings become variables too; empty: none.
        heap_bytes: limit on what the process may allocate; 0: none.
        locks: held as long as the child lives.
    """

    run: bytes
    folder: Path
    log: str
    target: str
    preload: str
    environment: dict[str, str]
    accelerate: str
    heap_bytes: int
    locks: list[Lock]


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


def main(work: Work, channel: socket.socket) -> None:
    """Do `work` in this process; `channel` leads to the parent. Does not return."""
    os.setsid()
    _leave_fork_server()
    _die_with_parent()
    _redirect_output(work.folder / work.log)
    threading.Thread(target=_obey, args=(channel,), name="command-channel", daemon=True).start()
    code = 1
    try:
        _do(work, Sender(channel))
        code = 0
    except BaseException:  # the interpreter would print it too, but then wait for threads that a plugin has left
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _do(work: Work, send: "Sender") -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # the parent blocked them while it started us
    os.environ.update(work.environment)
    if work.accelerate:
        os.environ.update(_accelerate(work.accelerate))
    _limit_memory(work.heap_bytes)
    importlib.import_module(work.preload)
    worker, run = _resolve(work.target), pickle.loads(work.run)
    send({"event": "started"})
    worker(run, work.folder, send)


def _leave_fork_server() -> None:
    """Close what keeps the fork server alive, so that it ends with the parent even if this process is stopped then."""
    server: Any = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = server._forkserver_address = None


def _die_with_parent() -> None:
    """Ask Linux for SIGKILL when the process that started this one ends, which the fork server does with its parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit_memory(heap_bytes: int) -> None:
    """Let an allocation fail beyond the limit, and let the kernel prefer this process if it must kill one."""
    if heap_bytes:
        limit = heap_bytes + _data_bytes()
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with contextlib.suppress(OSError):  # Linux alone has it
        Path("/proc/self/oom_score_adj").write_text("1000")


def _data_bytes() -> int:
    """What the kernel counts already, most of it reserved by libraries and never used; what is used is seen outside."""
    with contextlib.suppress(OSError, ValueError):  # Linux alone has it
        words = Path("/proc/self/status").read_text().split()
        return int(words[words.index("VmData:") + 1]) * 1024
    return 0


def _accelerate(file: str) -> dict[str, str]:
    """What `accelerate launch --config_file` would set, but for what the run itself says: processes and precision."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    asked = launch_command_parser().parse_args(["--config_file", file, "--num_processes", "2", "tunebench"])
    asked, defaults, _ = _validate_launch_command(asked)
    asked.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
    found = prepare_deepspeed_cmd_env(asked)[1] if asked.use_deepspeed else prepare_multi_gpu_env(asked)
    ours = ("ACCELERATE_MIXED_PRECISION", "CUDA_VISIBLE_DEVICES", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE")
    return {key: value for key, value in found.items() if key not in ours and os.environ.get(key) != value}


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
    """Turn the parent's word into SIGINT in the main thread, and its end into ours and that of all we started."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    try:
        while channel.recv(len(STOP)):
            signal.pthread_kill(main_thread, signal.SIGINT)
    finally:
        os.killpg(os.getpgid(0), signal.SIGKILL)


def _resolve(target: str) -> Any:
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)

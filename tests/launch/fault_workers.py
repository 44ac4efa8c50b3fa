"""The real worker with something wrong in it: each function takes what `bench.worker.work` takes.

What goes wrong, and in the runs of which method, stands in the file `fault.txt` beside the runs; without it nothing
does.
"""

import ctypes
import errno
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch

import bench.train.meter
from bench import worker
from bench.method import Method
from bench.records import store
from bench.train.trainers import SftTrainer

LEAKED = "a program that a plugin has left behind"
leaked: list[Any] = []


def fault(folder: Path) -> list[str]:
    path = folder.parent / "fault.txt"
    return path.read_text().split() if path.exists() else []


def untouched(run, folder, send):
    torch.set_num_threads(1)
    return worker.work(run, folder, send)


def in_phase(run, folder, send):
    """Do what the second word says when the phase of the first begins, in runs of the method of the third."""
    words = fault(folder)
    phase, what, method = words if words else ("", "", "")

    def tell(event: dict[str, Any]) -> None:
        send(event)
        if event.get("name") == phase and run.title() == method:
            DEEDS[what](folder)

    return untouched(run, folder, tell)


def _killed(folder):
    os.kill(os.getpid(), signal.SIGKILL)


def _waits(folder):
    (folder.parent / "stopped.pid").write_text(str(os.getpid()))
    time.sleep(600)


def _stopped(folder):
    (folder.parent / "stopped.pid").write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGSTOP)


def _out_of_memory(folder):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def _host_memory(folder):
    hog = []
    while True:
        hog.append(torch.ones(16 << 20))  # 64 MiB, touched


def _removed(folder):
    shutil.rmtree(folder)
    shutil.rmtree(folder.parent.parent, ignore_errors=True)  # all results; the launcher writes there meanwhile


DEEDS = {
    "kill": _killed,
    "stop": _stopped,
    "hang": _waits,
    "oom": _out_of_memory,
    "hog": _host_memory,
    "remove": _removed,
}


def in_adapt(run, folder, send):
    """A plugin whose `adapt` does what the first word says."""
    words = fault(folder)
    if words and run.method is not None and run.title() == words[1]:
        PLUGINS[words[0]](run.method)
    return untouched(run, folder, send)


def _patched(deed):
    def patch(method: Method) -> None:
        whole = type(method).adapt

        def adapt(self: Method, model: Any, context: Any) -> Any:
            deed()
            return whole(self, model, context)

        type(method).adapt = adapt

    return patch


def _raises():
    raise RuntimeError("the plugin is wrong")


def _hangs():
    time.sleep(600)


def _prints():
    line = "x" * 1023 + "\n"
    for _ in range(100 << 10):
        print(line, end="")


def _leaks():
    """File descriptors, a thread, memory, and a program in a session of its own."""
    leaked.append([os.dup(2) for _ in range(100)])
    leaked.append(torch.ones(8 << 20))
    threading.Thread(target=time.sleep, args=(600,)).start()  # no daemon: it would keep the interpreter alive
    subprocess.Popen([sys.executable, "-c", f"import time; {LEAKED!r}; time.sleep(600)"], start_new_session=True)


def _prints_a_record():
    print('{"run_id": "x", "status": "ok", "evaluation": {"validation": {"examples": 1, "loss": 0.0}}}')
    print('{"event": "record", "record": {"status": "ok"}}', flush=True)


def _segfault():
    ctypes.string_at(0)


PLUGINS = {
    "exits": _patched(lambda: os._exit(7)),
    "raises": _patched(_raises),
    "hangs": _patched(_hangs),
    "prints": _patched(_prints),
    "leaks": _patched(_leaks),
    "record": _patched(_prints_a_record),
    "segfault": _patched(_segfault),
}


def loss_is_nan(run, folder, send):
    words = fault(folder)
    if words and run.title() == words[0]:
        compute = SftTrainer.compute_loss
        SftTrainer.compute_loss = lambda *args, **kwargs: compute(*args, **kwargs) * float("nan")
    return untouched(run, folder, send)


def memory_for_few(run, folder, send):
    """Training runs out of memory with more than the given number of examples at once."""
    most = int(fault(folder)[0])
    step = SftTrainer.training_step

    def training_step(self, model, inputs, *args, **kwargs):
        if len(inputs["input_ids"]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return step(self, model, inputs, *args, **kwargs)

    SftTrainer.training_step = training_step
    return untouched(run, folder, send)


def slow_steps(run, folder, send):
    """Steps long enough to be interrupted at a known one."""
    step = SftTrainer.training_step

    def training_step(self, *args, **kwargs):
        time.sleep(0.05)
        return step(self, *args, **kwargs)

    SftTrainer.training_step = training_step
    return untouched(run, folder, send)


def disk_full(run, folder, send):
    """Every write of the child to its folder fails, as on a full disk, from the phase on that the first word names."""
    words = fault(folder)

    def tell(event: dict[str, Any]) -> None:
        if words and event.get("name") == words[0]:
            _fill()
        send(event)

    return untouched(run, folder, tell)


def _fill():
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store.replace = refuse
    store.append_line = refuse
    bench.train.meter.append_line = refuse


def second_process(run, folder, send):
    """The second of two processes does what the first word says when training begins."""
    words = fault(folder)

    def tell(event: dict[str, Any]) -> None:
        send(event)
        if words and event.get("name") == "train" and os.environ.get("RANK") == "1":
            if words[0] == "kill":
                _killed(folder)
            raise RuntimeError("something is wrong here")

    return untouched(run, folder, tell)


def sharded(run, folder, send):
    """As with a file of `accelerate config` that asks for FSDP."""
    os.environ["ACCELERATE_USE_FSDP"] = "true"
    return untouched(run, folder, send)


def clock_goes_back(run, folder, send):
    """The wall clock is an hour earlier each time it is asked."""
    hours = itertools.count()
    worker._now = lambda: f"2026-01-01T{23 - next(hours):02}:00:00+00:00"
    return untouched(run, folder, send)

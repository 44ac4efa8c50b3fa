"""Workers that end in every way a child can; each takes what `bench.worker.work` takes. Imports nothing heavy."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.config import Run
from bench.launch.running import unreached
from bench.records import store
from bench.records.schema import Evaluation, Metric, Record, Scores, Status


def write(run: Run, folder: Path, status: Status, reason: str | None = None) -> Record:
    record = unreached(run, status, reason or "", started_at="2026-01-01T00:00:00+00:00")
    record.reason = reason
    if status is Status.OK:
        record.evaluation = Evaluation(Scores(4, 0.5, {"accuracy": Metric(0.75, 1, True)}))
    store.write(record, folder)
    return record


def ok(run, folder, send):
    with (folder.parent / "order.txt").open("a") as file:
        file.write(run.run_id() + "\n")
    send({"event": "phase", "name": "train"})
    send({"event": "step", "step": 1, "steps": 2, "loss": 1.5, "seconds": 0.1, "tokens_per_s": 5100.0, "budget": 0.5})
    send({"event": "evaluate", "done": 1, "of": 4, "split": "test"})
    return write(run, folder, Status.OK)


def takes_two_seconds(run, folder, send):
    time.sleep(2)
    return write(run, folder, Status.OK)


def out_of_memory(run, folder, send):
    return write(run, folder, Status.OOM, "CUDA out of memory")


def raises(run, folder, send):
    print("printed before the error")
    raise LookupError("something is wrong")


def raises_for_lora(run, folder, send):
    return raises(run, folder, send) if run.title() == "lora" else ok(run, folder, send)


def raises_for_base(run, folder, send):
    return raises(run, folder, send) if run.method is None else ok(run, folder, send)


def exits(run, folder, send):
    os._exit(3)


def returns_without_record(run, folder, send):
    pass


def killed(run, folder, send):
    send({"event": "phase", "name": "load"})
    os.kill(os.getpid(), signal.SIGKILL)


def segfault(run, folder, send):
    ctypes.string_at(0)


def dies_in_message(run, folder, send):
    send({"event": "phase", "name": "train"})
    send.channel.sendall(b'{"event": "phase", "name": "' + b"x" * 30_000_000)
    os._exit(4)


def dies_in_message_and_leaves_a_grandchild(run, folder, send):
    """The grandchild holds the channel and the process's sentinel open, and would for a minute."""
    os.set_inheritable(send.channel.fileno(), True)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    (folder.parent / "grandchild.pid").write_text(str(sleeper.pid))
    send.channel.sendall(b'{"event": ')
    os._exit(5)


def hangs_politely(run, folder, send):
    """Writes its record when it is told to stop, as the real worker does."""
    (folder.parent / "child.pid").write_text(str(os.getpid()))
    send({"event": "phase", "name": "train"})
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        return write(run, folder, Status.INTERRUPTED, "stopped by the user")


def hangs_stubbornly(run, folder, send):
    send({"event": "phase", "name": "train"})
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            print("no")


def loud(run, folder, send):
    """Prints by Python, by the C library and by a child of its own."""
    print("from python")
    os.write(2, b"from C\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    return write(run, folder, Status.OK)


def tells_environment(run, folder, send):
    """The variables of every process of the run."""
    rank = os.environ.get("RANK", "0")
    (folder / f"environment.{rank}.json").write_text(json.dumps(dict(os.environ)))
    if rank == "0":
        return write(run, folder, Status.OK)


def family_takes_memory(run, folder, send):
    """Little itself, but together with the programs that it starts more than it may."""
    send({"event": "phase", "name": "train"})
    hold = "import time; hog = b'x' * (150 << 20); time.sleep(60)"
    programs = [subprocess.Popen([sys.executable, "-c", hold]) for _ in range(2)]
    for program in programs:
        program.wait()


def fills_the_disk_for_lora(run, folder, send):
    if run.title() != "lora":
        return ok(run, folder, send)
    with (folder / store.STEPS).open("wb") as file:
        while True:
            file.write(b"x" * 65536)
            file.flush()


def tells_where(run, folder, send):
    """Which GPUs it sees, and from when to when."""
    began = time.time()
    time.sleep(0.4)
    where = {"visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "began": began, "ended": time.time()}
    (folder / "where.json").write_text(json.dumps(where))
    return write(run, folder, Status.OK)

"""What stops a sweep from outside, and what is left: signals, the launcher's death, the fork server's, Ctrl-C.

tests/README.md lists faults, statuses and tests.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil
import pytest

from bench.launch.sweep import folder_of
from bench.records import store
from bench.records.schema import Status
from tests.launch.faults import HERE


def test_the_fork_server_is_killed(faults):
    def kill_once() -> None:
        faults.view.react = lambda: None
        (server,) = [p for p in psutil.Process().children() if "forkserver" in " ".join(p.cmdline())]
        server.kill()

    faults.view.react = kill_once
    found = faults.launch("untouched")
    assert found["base"].status is Status.CRASHED
    assert {found["lora"].status, found["prompt"].status} == {Status.OK}
    faults.make_good()


PARENT = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from pathlib import Path
from bench.launch.view import View
from tests.launch.faults import Faults
if __name__ == "__main__":
    faults = Faults({tiny!r}, Path({results!r}), View(sys.stderr))
    faults.launch({worker!r})
"""


@pytest.fixture
def parent(faults, tmp_path):
    """Starts a launcher as a process of its own."""
    started: list[subprocess.Popen] = []

    def start(worker: str) -> subprocess.Popen:
        code = PARENT.format(
            root=str(HERE.parents[1]), here=str(HERE), tiny=faults.tiny, results=str(faults.results), worker=worker
        )
        script = tmp_path / "parent.py"
        script.write_text(code)
        started.append(
            subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True, start_new_session=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _wait(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this takes too long"
        time.sleep(0.05)


@pytest.mark.parametrize("deed", [pytest.param("hang", marks=pytest.mark.slow), "stop"])
def test_sigkill_of_the_parent_takes_the_child_along_and_the_next_launch_goes_on(faults, parent, deed):
    faults.plan("train", deed, "lora")
    process = parent("in_phase")
    path = folder_of(faults.run("lora")).parent / "stopped.pid"
    _wait(lambda: path.exists() and path.read_text())
    child = int(path.read_text())
    process.send_signal(signal.SIGKILL)
    _wait(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, 5.0)
    path.unlink()
    faults.plan()
    found = faults.launch("untouched")
    assert {record.status for record in found.values()} == {Status.OK}
    assert found["lora"].history == ["ended with its launcher"]
    faults.one_record_each()


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGHUP, signal.SIGINT))],
)
def test_a_stopping_signal_lets_the_run_write_its_record(faults, parent, number):
    faults.plan("train", "hang", "lora")
    process = parent("in_phase")
    path = folder_of(faults.run("lora")).parent / "stopped.pid"
    _wait(lambda: path.exists() and path.read_text())
    os.killpg(process.pid, number)  # as a terminal that closes, a scheduler or `timeout` does
    _, said = process.communicate(timeout=90)  # the worker hangs, so the whole grace is waited for
    assert "stopping after the step at work" in said
    assert "Traceback" not in said
    record = store.read(folder_of(faults.run("lora")) / store.RECORD)
    assert (record.status, record.failed_phase) == (Status.INTERRUPTED, "train")
    assert record.reason == f"stopped by {'Ctrl-C' if number == signal.SIGINT else number.name}"
    faults.make_good()


def test_a_run_that_is_interrupted_goes_on_from_its_checkpoint(faults, view):
    """To the same losses as one that was not; without `train.save_every` it starts anew."""
    steps = {"steps": 30, "train": {"save_every": 4}}
    faults.launch("slow_steps", **steps)
    whole = store.read_lines(folder_of(faults.run("lora", **steps)) / store.STEPS)
    faults.results = faults.results.parent / "interrupted"

    def press(event_step: int = 5) -> None:
        if view.events[-1]["event"] == "step" and view.events[-1]["step"] >= event_step:
            view.event = type(view).event.__get__(view)
            os.kill(os.getpid(), signal.SIGINT)

    plain = view.event

    def event(each) -> None:
        plain(each)
        press()

    view.event = event
    found = faults.launch("slow_steps", **steps)
    assert found["lora"].status is Status.INTERRUPTED
    assert "prompt" not in found
    reached = len(store.read_lines(folder_of(faults.run("lora", **steps)) / store.STEPS))
    assert 5 <= reached < 30
    view.interrupted = False
    found = faults.launch("slow_steps", **steps)
    assert found["lora"].status is Status.OK
    assert found["lora"].training.resumed_at == reached
    assert found["lora"].history == ["interrupted in train: stopped by Ctrl-C"]
    lines = store.read_lines(folder_of(faults.run("lora", **steps)) / store.STEPS)
    assert [line["loss"] for line in lines] == [line["loss"] for line in whole]
    assert not (folder_of(faults.run("lora", **steps)) / store.CHECKPOINTS).exists()


def test_the_watch_does_not_need_events_to_end(go, make_run):
    """The parent sleeps while nothing happens, and takes next to no time of its own."""
    before = time.process_time()
    (record,) = go([make_run(timeout=5.0)], "hangs_politely")
    assert record.status is Status.TIMEOUT
    assert time.process_time() - before < 0.25  # seconds, in five


def test_signals_are_left_as_they_were(go, make_run):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    go([make_run()], "ok")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_launch_outside_the_main_thread_works(go, make_run):
    found = []
    thread = threading.Thread(target=lambda: found.extend(go([make_run()], "ok")))
    thread.start()
    thread.join(60)
    assert [record.status for record in found] == [Status.OK]

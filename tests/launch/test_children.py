"""Children that end in every way: each leaves a record that says how, and none takes the parent with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.launch import running
from bench.launch import sweep as sweeps
from bench.launch.sweep import folder_of
from bench.records import store
from bench.records.schema import Status

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def _ends(pid: int) -> bool:
    """Whether the process ends within ten seconds; one that nobody has waited for yet has ended too."""
    for _ in range(200):
        stat = Path(f"/proc/{pid}/stat")
        try:
            os.kill(pid, 0)
            if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def _wait_for(path: Path) -> str:
    for _ in range(600):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} does not appear")


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
def test_a_good_run_leaves_its_own_record_and_its_events_arrive(go, make_run, view, start):
    run = make_run(start=start)
    (record,) = go([run], "ok")
    assert record.status is Status.OK
    assert record == store.read(folder_of(run) / store.RECORD)
    assert [event["event"] for event in view.events] == ["started", "phase", "step", "evaluate"]
    assert view.events[2]["loss"] == 1.5


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
def test_an_exception_is_told_with_the_end_of_the_log(go, make_run, start):
    run = make_run(start=start)
    (record,) = go([run], "raises")
    assert record.status is Status.CRASHED
    assert record.reason.startswith("ended with exit code 1 and without a record\n")
    assert record.reason.endswith("LookupError: something is wrong")
    assert "printed before the error" in (folder_of(run) / "worker.log").read_text()
    assert store.read(folder_of(run) / store.RECORD) == record


@pytest.mark.parametrize(
    ("worker", "reason", "phase"),
    [
        ("there_is_no_such_worker", "ended with exit code 1 and without a record", None),
        ("exits", "ended with exit code 3 and without a record", None),
        ("returns_without_record", "ended with exit code 0 and without a record", None),
        ("killed", "killed by SIGKILL (possibly out of memory)", "load"),
        ("segfault", "killed by SIGSEGV", None),
        ("dies_in_message", "ended with exit code 4 and without a record", "train"),
    ],
)
def test_a_child_without_a_record_gets_one(go, make_run, monkeypatch, worker, reason, phase):
    monkeypatch.setattr(running, "_oom_kills", lambda: 7)
    run = make_run("lora", seed=3)
    (_, record) = go([run], worker)
    assert (record.status, record.failed_phase) == (Status.CRASHED, phase)
    assert record.reason.splitlines()[0] == reason
    assert (record.run_id, record.group, record.method, record.seed) == (run.run_id(), run.group(), "lora", 3)
    assert record.config["method"]["name"] == "lora"
    assert record.started_at <= record.finished_at


def test_a_crash_in_native_code_leaves_the_python_stack_in_the_log(go, make_run):
    run = make_run()
    go([run], "segfault")
    assert "in segfault" in (folder_of(run) / "worker.log").read_text()


def test_a_kill_that_the_kernel_counts_is_out_of_memory(go, make_run, monkeypatch):
    counts = iter([0, 1])
    monkeypatch.setattr(running, "_oom_kills", lambda: next(counts))
    (record,) = go([make_run()], "killed")
    assert (record.status, record.reason) == (Status.OOM, "killed by the kernel: out of host memory")


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
def test_a_grandchild_that_holds_everything_open_does_not_hold_up_the_parent(go, make_run, start):
    run = make_run(start=start)
    began = time.monotonic()
    (record,) = go([run], "dies_in_message_and_leaves_a_grandchild")
    assert time.monotonic() - began < 30
    assert record.reason.startswith("ended with exit code 5")
    assert _ends(int((folder_of(run).parent / "grandchild.pid").read_text()))


def test_a_timeout_keeps_what_the_worker_wrote(go, make_run):
    run = make_run(timeout=1.0)
    (record,) = go([run], "hangs_politely")
    assert (record.status, record.reason) == (Status.TIMEOUT, "not finished after launch.timeout=1 seconds")
    assert store.read(folder_of(run) / store.RECORD) == record


def test_a_child_that_will_not_stop_is_killed(go, make_run):
    began = time.monotonic()
    (record,) = go([make_run(timeout=1.0)], "hangs_stubbornly", grace=0.5)
    assert time.monotonic() - began < 10
    assert (record.status, record.failed_phase) == (Status.TIMEOUT, "train")


def test_all_output_goes_to_the_log(go, make_run, capfd):
    run = make_run()
    go([run], "loud")
    assert sorted((folder_of(run) / "worker.log").read_text().splitlines()) == ["from C", "from a child", "from python"]
    assert capfd.readouterr() == ("", "")


def _press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_lets_the_child_write_its_record_and_ends_the_sweep(go, make_run, view):
    view.react = _press_ctrl_c
    runs = [make_run("lora"), make_run("prompt")]
    (record,) = go(runs, "hangs_politely")
    assert (record.method, record.status, record.reason) == ("base", Status.INTERRUPTED, "stopped by Ctrl-C")
    assert view.interrupted
    assert not folder_of(runs[0]).exists()
    assert (view.stopped, view.left) == (1, 2)


def test_ctrl_c_on_a_stubborn_child_ends_it_after_a_while(go, make_run, view, monkeypatch):
    monkeypatch.setattr(sweeps, "FINISH", 0.5)
    view.react = _press_ctrl_c
    (record,) = go([make_run()], "hangs_stubbornly")
    assert (record.status, record.reason) == (Status.INTERRUPTED, "stopped by Ctrl-C")


def test_a_second_ctrl_c_does_not_wait(go, make_run, view):
    def press_twice() -> None:
        _press_ctrl_c()
        signal.setitimer(signal.ITIMER_REAL, 0.3)

    view.react = press_twice
    before = signal.signal(signal.SIGALRM, lambda *_: _press_ctrl_c())
    began = time.monotonic()
    try:
        (record,) = go([make_run()], "hangs_stubbornly")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert record.status is Status.INTERRUPTED
    assert time.monotonic() - began < 20


@pytest.fixture
def sweep_process(tmp_path):
    """A process of its own that launches a run which would take a minute, in a session of its own."""
    code = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(HERE)!r}]
from bench.config import Launch, Run
from bench.launch import launch
from bench.launch.view import open_view
run = Run(None, results={str(tmp_path)!r})
if __name__ == "__main__":
    for record in launch([run], open_view(), worker="fake_workers:hangs_politely", preload="fake_workers"):
        print(record.status)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # a shell lets what it starts in the background ignore Ctrl-C, and the tests may have been started so
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    yield process
    process.kill()
    process.communicate()


def _child_pid(results: Path) -> int:
    for _ in range(600):
        found = list(results.rglob("child.pid"))
        if found:
            return int(_wait_for(found[0]))
        time.sleep(0.05)
    raise AssertionError("the child does not start")


def test_ctrl_c_from_the_terminal(sweep_process, tmp_path):
    _child_pid(tmp_path)
    os.killpg(sweep_process.pid, signal.SIGINT)  # as a terminal does
    out, err = sweep_process.communicate(timeout=20)
    assert out == "interrupted\n"
    assert "Traceback" not in err
    assert sweep_process.returncode == 0


def test_a_child_does_not_outlive_its_parent(sweep_process, tmp_path):
    child = _child_pid(tmp_path)
    sweep_process.kill()
    assert _ends(child)

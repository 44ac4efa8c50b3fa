"""Real faults in real children: each leaves one record with the right status, hurts no other run, and is made good.

Every test carries out a sweep of two methods on a tiny model, in which the run of LoRA meets with a fault, and then
launches the same sweep again without it. tests/README.md lists faults, statuses and tests.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench.config import Budget, Launch, Measure, Model, Run, Task, Train
from bench.launch import launch, running
from bench.launch.sweep import folder_of
from bench.method import get
from bench.records import store
from bench.records.schema import Record, Status
from bench.report.cli import main as table

HERE = Path(__file__).parent
FINAL = {Status.OK, Status.OOM, Status.DIVERGED}


class Faults:
    """A sweep of LoRA and prompt tuning in which something goes wrong."""

    def __init__(self, tiny: str, results: Path, view) -> None:
        self.tiny, self.results, self.view = tiny, results, view

    def run(self, method: str, steps: int = 4, train: dict | None = None, forgetting: bool = False, **settings) -> Run:
        return Run(
            get(method)(),
            model=Model(name="tiny", path=self.tiny),
            task=Task(
                name="sums", source="arithmetic", kind="generation", train_examples=16, validation_examples=3,
                test_examples=2, max_length=64, max_new_tokens=2,
            ),
            budget=Budget(name="few", steps=steps),
            train=Train(**({"batch_size": 4, "precision": "float32"} | (train or {}))),
            measure=Measure(warmup_steps=1, general_tokens=512, forgetting=forgetting),
            launch=Launch(predict=False, **settings),
            results=str(self.results),
        )  # fmt: skip

    def plan(self, *words: str) -> None:
        """What shall go wrong from now on; nothing without words."""
        folder = folder_of(self.run("lora")).parent
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "fault.txt").write_text(" ".join(words))

    def launch(self, worker: str, **settings) -> dict[str, Record]:
        runs = [self.run("lora", **settings), self.run("prompt", **settings)]
        found = launch(runs, self.view, worker=f"fault_workers:{worker}", preload="bench.launch.preload", grace=2.0)
        return {record.method: record for record in found}

    def meet(self, worker: str, *words: str, **settings) -> Record:
        """Launch with a fault in LoRA's run, see that the other runs are done, and return LoRA's record."""
        self.plan(*words)
        found = self.launch(worker, **settings)
        assert {found["base"].status, found["prompt"].status} == {Status.OK}
        assert found["lora"] == store.read(folder_of(self.run("lora")) / store.RECORD)
        self.one_record_each()
        return found["lora"]

    def make_good(self, worker: str = "untouched", **settings) -> None:
        """Launch again without the fault: what is final stays, the rest is done."""
        before = {path: path.stat().st_mtime_ns for path in self.results.rglob(store.RECORD)}
        kept = {path for path in before if store.read(path).status in FINAL}
        self.plan()
        found = self.launch(worker, **settings)
        assert {record.status for record in found.values()} <= FINAL
        assert {path for path in before if path.stat().st_mtime_ns == before[path]} == kept
        self.one_record_each()

    def one_record_each(self) -> None:
        records, damaged = store.load([self.results])
        assert damaged == []
        assert sorted(record.method for record in records) == ["base", "lora", "prompt"]


@pytest.fixture
def faults(tiny_llama, tmp_path, view, monkeypatch) -> Faults:
    monkeypatch.syspath_prepend(HERE)
    return Faults(tiny_llama, tmp_path / "results", view)


PHASES = ("load", "adapt", "train", "evaluate", "save")


@pytest.mark.parametrize("phase", PHASES)
def test_sigkill_in_a_phase(faults, phase, monkeypatch):
    monkeypatch.setattr(running, "_oom_kills", lambda: 0)
    record = faults.meet("in_phase", phase, "kill", "lora")
    assert (record.status, record.failed_phase) == (Status.CRASHED, phase)
    assert record.reason.startswith("killed by SIGKILL (possibly out of memory)")
    assert [each.name for each in record.phases] == list(PHASES[: PHASES.index(phase)])  # what was measured so far
    assert (record.training is not None) == (phase in ("evaluate", "save"))
    faults.make_good()
    assert store.read(folder_of(faults.run("lora")) / store.RECORD).history == [
        f"crashed in {phase}: killed by SIGKILL (possibly out of memory)"
    ]


@pytest.mark.parametrize("phase", PHASES)
def test_out_of_device_memory_in_a_phase(faults, phase):
    record = faults.meet("in_phase", phase, "oom", "lora")
    assert (record.status, record.failed_phase) == (Status.OOM, phase)
    assert record.reason == "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB."
    faults.make_good()


def test_out_of_host_memory_under_a_limit(faults):
    record = faults.meet("in_phase", "train", "hog", "lora", memory=2.0)
    assert (record.status, record.failed_phase) == (Status.OOM, "train")
    # the allocation that goes too far fails in the child, unless the launcher has seen before what is used
    assert re.search(
        r"can't allocate memory|^used 2\.\d\d GiB of host memory, more than launch\.memory=2$", record.reason
    )
    faults.make_good(memory=2.0)


def test_a_limit_too_small_for_the_libraries_is_out_of_memory_too(faults):
    (record,) = launch(
        [faults.run("lora", memory=0.2).base()], faults.view, worker="fault_workers:untouched",
        preload="bench.launch.preload", grace=2.0,
    )  # fmt: skip
    assert record.status is Status.OOM


def test_programs_that_a_run_has_started_count_for_its_limit(go, make_run, monkeypatch):
    monkeypatch.setattr(running, "GRANDCHILDREN", 1)
    (record,) = go([make_run(memory=0.3, start="spawn")], "family_takes_memory")
    assert (record.status, record.failed_phase) == (Status.OOM, "train")
    assert re.fullmatch(r"used 0\.\d\d GiB of host memory, more than launch\.memory=0\.3", record.reason)
    assert record.phase("train").peak_resident_bytes > 0


def test_a_stopped_process_is_a_stall(faults):
    record = faults.meet("in_phase", "train", "stop", "lora", stall=10.0)
    assert (record.status, record.failed_phase) == (Status.TIMEOUT, "train")
    assert record.reason == "no sign of life for launch.stall=10 seconds"
    assert not psutil.pid_exists(int((folder_of(faults.run("lora")).parent / "stopped.pid").read_text()))
    faults.make_good()


@pytest.mark.parametrize(
    ("deed", "status", "reason"),
    [
        ("exits", Status.CRASHED, "ended with exit code 7 and without a record"),
        ("segfault", Status.CRASHED, "killed by SIGSEGV"),
        ("raises", Status.FAILED, "RuntimeError: the plugin is wrong"),
        ("hangs", Status.TIMEOUT, "not finished after launch.timeout=20 seconds"),
    ],
)
def test_a_plugin_goes_wrong(faults, deed, status, reason):
    record = faults.meet("in_adapt", deed, "lora", timeout=20.0)
    assert (record.status, record.failed_phase) == (status, "adapt")
    assert record.reason.splitlines()[0] == reason
    assert (record.traceback is not None and "in _raises" in record.traceback) == (deed == "raises")
    faults.make_good()


def test_a_plugin_prints_a_hundred_megabytes(faults):
    record = faults.meet("in_adapt", "prints", "lora")
    assert record.status is Status.OK
    log = folder_of(faults.run("lora")) / "worker.log"
    assert log.stat().st_size < 3 << 20
    assert "bytes are left out here]" in log.read_text()
    faults.make_good()


def test_a_plugin_leaks(faults):
    record = faults.meet("in_adapt", "leaks", "lora", timeout=60.0)
    assert record.status is Status.OK
    left = [p for p in psutil.process_iter(["cmdline"]) if any("left behind" in a for a in p.info["cmdline"] or [])]
    assert [p for p in left if p.status() != psutil.STATUS_ZOMBIE] == []
    faults.make_good()


def test_a_plugin_prints_what_looks_like_a_record(faults):
    record = faults.meet("in_adapt", "record", "lora")
    assert record.status is Status.OK
    assert record.evaluation.validation.examples == 3
    faults.make_good()


def test_a_loss_that_is_no_number(faults):
    faults.plan("lora")
    found = faults.launch("loss_is_nan")
    assert [found[m].status for m in ("base", "lora", "prompt")] == [Status.OK, Status.DIVERGED, Status.OK]
    assert found["lora"].reason == "the loss became nan at step 1"
    faults.make_good()


def test_auto_batch_halves_until_it_fits_and_says_so(faults, view):
    faults.plan("1")
    settings = {"train": {"auto_batch": True, "batch_size": 12}}
    found = faults.launch("memory_for_few", **settings)
    record = found["lora"]
    assert {r.status for r in found.values()} == {Status.OK}
    assert (record.training.micro_batch_size, record.training.gradient_accumulation) == (1, 12)
    assert record.training.examples == 2 * (12 + 4)  # of 16, over and over
    assert record.history == [
        f"oom in train with {n} examples at once: OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
        for n in (12, 6, 3)
    ]
    assert f"{record.run_id}: {record.history[0]}; again with 6" in view.text.getvalue()
    faults.one_record_each()
    assert faults.launch("memory_for_few", **settings) == found  # final: nothing is done again


def test_auto_batch_asked_for_later_tries_again_what_ran_out_of_memory(faults):
    faults.plan("2")
    assert faults.launch("memory_for_few")["lora"].status is Status.OOM
    found = faults.launch("memory_for_few", train={"auto_batch": True})
    assert (found["lora"].status, found["lora"].training.micro_batch_size) == (Status.OK, 2)
    faults.one_record_each()


def test_auto_batch_that_finds_none_ends_out_of_memory(faults):
    faults.plan("0")
    found = faults.launch("memory_for_few", train={"auto_batch": True})
    assert (found["lora"].status, found["lora"].failed_phase) == (Status.OOM, "train")
    assert len(found["lora"].history) == 2  # 4 and 2 at once; 1 is the record
    assert faults.launch("untouched", train={"auto_batch": True})["lora"].status is Status.OOM


def test_the_results_are_removed_in_mid_sweep(faults):
    faults.plan("train", "remove", "lora")
    found = faults.launch("in_phase", forgetting=True)
    assert found["lora"].status is Status.FAILED
    assert "No such file or directory" in found["lora"].reason
    assert found["prompt"].status is Status.OK
    assert found["prompt"].evaluation.forgetting is not None  # the base run was done again for it
    faults.make_good(forgetting=True)


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


@pytest.mark.parametrize("phase", ["load", "train", "save"])
def test_a_child_that_cannot_write(faults, phase):
    """ENOSPC for every file of the run; a disk that is really full is tested in test_disk.py."""
    faults.plan(phase)
    found = faults.launch("disk_full")
    if phase == "save":  # only the record is left to write, which the parent can
        assert {record.status for record in found.values()} == {Status.OK}
    else:
        assert found["lora"].status is Status.FAILED
        assert "No space left on device" in found["lora"].reason
    faults.one_record_each()
    faults.make_good()


def test_a_parent_that_cannot_write_goes_on_and_the_next_launch_makes_good(faults, monkeypatch):
    full = OSError(28, os.strerror(28))
    real = store.write

    def write(record: Record, folder: Path) -> Path:
        if record.method == "lora":
            raise full
        return real(record, folder)

    monkeypatch.setattr(store, "write", write)
    faults.plan("train", "kill", "lora")
    found = faults.launch("in_phase")
    assert found["lora"].status is Status.FAILED
    assert found["lora"].reason.splitlines()[0] == "the record cannot be written: [Errno 28] No space left on device"
    assert {found["base"].status, found["prompt"].status} == {Status.OK}
    monkeypatch.setattr(store, "write", real)
    faults.make_good()


def test_the_clock_is_set_back(faults):
    record = faults.meet("clock_goes_back", "lora")
    assert record.status is Status.OK
    assert record.finished_at < record.started_at
    assert all(phase.seconds > 0 for phase in record.phases)
    faults.make_good()
    assert table([str(faults.results), "--format", "csv"]) == 0


PARENT = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from pathlib import Path
from bench.launch.view import View
from test_faults import Faults
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


@pytest.mark.parametrize("deed", ["hang", "stop"])
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
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

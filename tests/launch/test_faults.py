"""Real faults in real children: each leaves one record with the right status, hurts no other run, and is made good.

Every test carries out a sweep of two methods on a tiny model, in which the run of LoRA meets with a fault, and then
launches the same sweep again without it. tests/README.md lists faults, statuses and tests.
"""

import os
import re
from pathlib import Path

import psutil
import pytest

from bench.launch import launch, running
from bench.launch.sweep import folder_of
from bench.records import store
from bench.records.schema import Record, Status
from bench.report.cli import main as table

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

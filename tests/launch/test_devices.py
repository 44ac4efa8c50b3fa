"""Leases on devices, with an nvidia-smi that tells of GPUs which are not there."""

import json
import os
import re
import stat
import time
from pathlib import Path

import pytest

from bench.launch import devices
from bench.launch.devices import DeviceError, Devices
from bench.launch.sweep import folder_of
from bench.measure import environment
from bench.records.schema import Status

TWO = ["0, GPU-aa, NVIDIA L40S, 3, 46068", "1, GPU-bb, NVIDIA L40S, 3, 46068"]


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Makes `nvidia-smi` tell of these GPUs: index, uuid, name, used and total MiB."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    monkeypatch.setenv(devices.LOCKS, str(tmp_path / "locks"))
    monkeypatch.setattr(environment, "_torch_without_cuda", lambda: False)

    def tell(lines: list[str]) -> None:
        names = "\n".join(line.split(", ")[2] for line in lines)
        (folder / "lines").write_text("\n".join(lines) + "\n")
        script = folder / "nvidia-smi"
        script.write_text(
            f'#!/bin/sh\ncase "$*" in *query-gpu=name*) echo "{names}";; *) cat "{folder}/lines";; esac\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IEXEC)
        environment._nvidia_gpu.cache_clear()

    yield tell
    environment._nvidia_gpu.cache_clear()


def test_one_run_on_a_gpu_and_all_gpus_at_once(smi, go, make_run, view):
    smi(TWO)
    runs = [make_run(seed=seed, method="lora") for seed in range(4)]
    found = go(runs, "tells_where")
    assert {record.status for record in found} == {Status.OK}
    told = [json.loads((folder_of(run) / "where.json").read_text()) for run in runs]
    assert sorted(each["visible"] for each in told) == ["0", "0", "1", "1"]
    for gpu in ("0", "1"):
        first, second = sorted((each["began"], each["ended"]) for each in told if each["visible"] == gpu)
        assert first[1] <= second[0]  # one after the other on one GPU
    assert min(each["ended"] for each in told) > sorted(each["began"] for each in told)[1]  # two at once
    assert folder_of(runs[0]).parent.name == "nvidia-l40s"


def test_the_devices_that_were_asked_for(smi, go, make_run):
    smi(TWO)
    run = make_run(devices=["GPU-bb"])
    go([run], "tells_where")
    assert json.loads((folder_of(run) / "where.json").read_text())["visible"] == "GPU-bb"


def test_what_the_environment_hides_is_not_there(smi, make_run, monkeypatch):
    smi(TWO)
    monkeypatch.setenv(devices.VISIBLE, "1")
    lease = Devices(make_run()).lease(1)
    assert lease.environment == {"CUDA_VISIBLE_DEVICES": "1"}
    lease.release()
    with pytest.raises(DeviceError, match=r"^launch\.devices: there is no GPU '0'; there are 1$"):
        Devices(make_run(devices=["0"]))


def test_gpus_are_not_asked_for_where_there_are_none(make_run):
    with pytest.raises(DeviceError, match=r"^launch\.devices: hardware=auto finds no NVIDIA GPU here to choose from$"):
        Devices(make_run(devices=["0"]))


def test_a_gpu_that_is_asked_for_must_be_there(make_run):
    run = make_run()
    run.hardware.device = "cuda"
    with pytest.raises(
        DeviceError, match=r"^hardware=cuda: there is no NVIDIA GPU here that torch could use; use cpu "
    ):
        Devices(run)


def test_a_limit_on_a_gpu_s_memory_needs_a_gpu(make_run):
    run = make_run()
    run.hardware.memory_gib = 12
    message = "hardware.memory_gib: hardware=auto finds no NVIDIA GPU here to limit the memory of"
    with pytest.raises(DeviceError, match=f"^{re.escape(message)}$"):
        Devices(run)


def test_a_gpu_with_a_limit_is_other_hardware_and_the_run_the_same(smi, make_run):
    smi(TWO)
    run, limited = make_run(), make_run()
    limited.hardware.memory_gib = 12
    assert folder_of(limited).parent.name == "nvidia-l40s-12gib"
    assert folder_of(run).parent.name == "nvidia-l40s"
    assert limited.run_id() == run.run_id()


def test_gpus_of_two_models_are_not_mixed(smi, make_run):
    smi([*TWO, "2, GPU-cc, NVIDIA T4, 3, 15360"])
    found = Devices(make_run())
    leases = [found.lease(1), found.lease(1)]
    assert [lease.environment["CUDA_VISIBLE_DEVICES"] for lease in leases] == ["0", "1"]
    assert found.lease(1) is None
    for lease in leases:
        lease.release()
    with pytest.raises(DeviceError, match=r"must be GPUs of one model, got NVIDIA L40S, NVIDIA T4$"):
        Devices(make_run(devices=["0", "2"]))


def test_a_gpu_in_use_by_another_program_is_waited_for(smi, go, make_run, view, monkeypatch):
    smi(["0, GPU-aa, NVIDIA L40S, 20480, 46068"])
    note = view.note

    def free_it(text: str) -> None:
        note(text)
        if text.startswith("waiting"):
            smi(["0, GPU-aa, NVIDIA L40S, 3, 46068"])

    monkeypatch.setattr(view, "note", free_it)
    (record,) = go([make_run()], "tells_where")
    assert record.status is Status.OK
    assert (
        "waiting: another program holds 20,480 of 46,068 MiB on GPU 0 (NVIDIA L40S)"
        in view.text.getvalue().splitlines()
    )


def test_a_gpu_in_use_is_refused_or_taken_if_asked(smi, make_run):
    smi(["0, GPU-aa, NVIDIA L40S, 20480, 46068", TWO[1]])
    found = Devices(make_run(busy="refuse"))
    lease = found.lease(1)
    assert lease.environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert found.lease(1) is None
    lease.release()
    smi(["0, GPU-aa, NVIDIA L40S, 20480, 46068"])
    with pytest.raises(DeviceError, match=r"^launch\.busy=refuse: another program holds 20,480 of 46,068 MiB on GPU 0"):
        Devices(make_run(busy="refuse"))
    lease = Devices(make_run(busy="ignore")).lease(1)
    assert lease is not None
    lease.release()


def test_several_processes_take_as_many_gpus_or_none(smi, make_run):
    smi(TWO)
    found = Devices(make_run("lora", processes=2))
    lease = found.lease(2)
    assert lease.environment["CUDA_VISIBLE_DEVICES"] == "0,1"
    lease.release()
    one = found.lease(1)
    assert found.lease(2) is None
    one.release()
    again = found.lease(2)  # the failed one has let go of what it had
    again.release()
    with pytest.raises(DeviceError, match=r"^launch\.processes=3 needs as many GPUs; there are 0, 1$"):
        Devices(make_run("lora", processes=3))


def test_the_cpu_is_lent_to_one_run_at_a_time_or_to_more_if_asked(make_run, tmp_path, monkeypatch):
    monkeypatch.setenv(devices.LOCKS, str(tmp_path / "locks"))
    first, second = Devices(make_run()), Devices(make_run())
    lease = first.lease(1)
    assert second.lease(1) is None
    assert second.waiting_for == (
        f"the CPU is in use by process {os.getpid()} of tunebench (launch.per_device shares a device)"
    )
    shared = Devices(make_run(per_device=2)).lease(1)
    assert shared is not None
    lease.release()
    shared.release()
    lease = second.lease(1)
    lease.release()


def test_two_launchers_share_one_cpu_in_turn(go, make_run, tmp_path):
    """Another process has the CPU for a second; the run starts when it has let go."""
    import subprocess
    import sys

    root = Path(__file__).parents[2]
    code = f"""
import sys, time
sys.path.insert(0, {str(root)!r})
from bench.config import Run
from bench.launch.devices import Devices
lease = Devices(Run(None)).lease(1)
print(time.time(), flush=True)
time.sleep(1.5)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        taken = float(other.stdout.readline())
        run = make_run()
        go([run], "tells_where")
    told = json.loads((folder_of(run) / "where.json").read_text())
    assert told["began"] >= taken + 1.4
    assert time.time() >= told["ended"]

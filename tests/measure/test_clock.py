"""The clock against known sleeps, and the foreign load against a known one."""

import subprocess
import sys
import time

import pytest

from bench.measure import clock
from bench.measure.clock import ForeignCpu, StepClock, quantiles
from bench.records.schema import Quantiles


def test_a_step_takes_as_long_as_it_sleeps_and_what_lies_between_does_not_count():
    steps, slept, between = StepClock("cpu"), [0.05, 0.1, 0.05], 0.1
    began = time.perf_counter()
    times = []
    for seconds in slept:
        steps.start()
        time.sleep(seconds)
        tell = steps.stop()
        time.sleep(between)
        times.append(tell())
    wall = time.perf_counter() - began
    assert all(time >= seconds for time, seconds in zip(times, slept, strict=True))
    assert sum(times) <= wall - len(slept) * between


@pytest.mark.gpu
def test_cuda_steps_are_timed_on_the_device_without_waiting():
    import torch

    matrix = torch.randn(8192, 8192, device="cuda")
    steps = StepClock("cuda")
    torch.cuda.synchronize()
    began, tell = time.perf_counter(), []
    for _ in range(5):
        steps.start()
        for _ in range(10):
            matrix @ matrix
        tell.append(steps.stop())
    launched = time.perf_counter() - began
    torch.cuda.synchronize()
    times = [seconds() for seconds in tell]
    took = time.perf_counter() - began
    assert launched < took / 2
    assert sum(times) == pytest.approx(took, rel=0.2)


def test_quantiles_are_interpolated():
    assert quantiles([float(value) for value in range(11)]) == Quantiles(median=5.0, p10=1.0, p90=9.0)
    assert quantiles([2.0]) == Quantiles(2.0, 2.0, 2.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_busy_neighbour_is_seen():
    load = ForeignCpu()
    load.start()
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True)
    wall = time.perf_counter() - began
    load.stop()
    cores = load.cores()
    assert cores is not None
    assert cores * wall > 0.4


def test_own_work_idle_cores_and_cores_we_may_not_use_do_not_count(monkeypatch, tmp_path):
    def stat(user: int, steal: int) -> str:
        return (
            "cpu  999999 0 0 0 0 0 0 0 0 0\n"
            f"cpu0 {user} 10 20 5000 300 1 1 {steal} 0 0\n"
            "cpu1 100 0 0 0 0 0 0 0 0 0\n"
            f"cpu2 {50 * user} 0 0 0 0 0 0 0 0 0\n"
            "intr 1 2 3\n"
        )

    path = tmp_path / "stat"
    wall, own = iter([10.0, 14.0]), iter([1.0, 3.0])
    monkeypatch.setattr(clock, "_STAT", path)
    monkeypatch.setattr(clock.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(clock.os, "sysconf", lambda _: 100)
    monkeypatch.setattr(clock.time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(clock.time, "process_time", lambda: next(own))
    load = ForeignCpu()
    path.write_text(stat(user=1000, steal=0))
    load.start()
    path.write_text(stat(user=1500, steal=100))
    load.stop()
    assert load.cores() == pytest.approx((5.0 + 1.0 - 2.0) / 4.0)  # 5 s used and 1 s stolen, 2 s of it our own


def test_no_figure_where_the_system_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(clock, "_STAT", tmp_path / "stat")
    load = ForeignCpu()
    load.start()
    load.stop()
    assert load.cores() is None

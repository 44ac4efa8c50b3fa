"""The memory meter against allocations of known size."""

import ctypes
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from bench.measure import memory, process
from bench.measure.memory import MemoryMeter

MB = 1_000_000
SOURCE = "glibc" if process.heap_reader() else "resident"


def _fill(megabytes: int) -> torch.Tensor:
    return torch.empty(megabytes * MB, dtype=torch.uint8).fill_(1)


@pytest.fixture(autouse=True)
def _warm() -> None:
    """What torch allocates once, on first use, belongs to no test."""
    torch.zeros(64, 64) @ torch.zeros(64, 64)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read whatever it takes: in a heap of many pieces, as other tests leave it, the meter's share of the time is over
    after one reading in seconds."""
    monkeypatch.setattr(memory, "SHARE", 0.9)


@pytest.mark.usefixtures("often")
def test_an_allocation_is_seen_though_it_is_gone_when_the_phase_ends():
    meter = MemoryMeter("cpu", 0.001)
    with meter.phase("train") as phase:
        block = _fill(200)
        time.sleep(0.3)
        del block
    assert phase.name == "train"
    assert phase.memory_source == SOURCE
    assert phase.peak_allocated_bytes == pytest.approx(200 * MB, rel=0.05)
    assert phase.peak_resident_bytes > 200 * MB
    assert phase.seconds >= 0.3
    assert (phase.peak_reserved_bytes, phase.peak_device_bytes, phase.energy_j) == (None, None, None)
    assert meter.phases == [phase]
    assert meter.current is None


@pytest.mark.usefixtures("often")
def test_a_temporary_inside_an_expression_is_seen():
    matrix = torch.ones(5000, 4000)  # 80 MB
    meter = MemoryMeter("cpu", 0.001)
    with meter.phase("train") as phase:
        total = float((matrix @ matrix.T[:, :500]).sum())  # the product: 10 MB
        for _ in range(10):
            total += float((matrix * 2.0 + 1.0).sum())  # two temporaries: 160 MB
    assert total > 0
    assert phase.peak_allocated_bytes == pytest.approx(160 * MB, rel=0.05)


@pytest.mark.usefixtures("often")
def test_phases_do_not_leak_into_one_another_but_what_stays_counts_in_all():
    meter = MemoryMeter("cpu", 0.001)
    with meter.phase("load") as load:
        kept = _fill(50)
        gone = _fill(200)
        time.sleep(0.3)
        del gone
    with meter.phase("train") as train:
        time.sleep(0.3)
    del kept
    with meter.phase("save") as save:
        time.sleep(0.3)
    assert load.peak_allocated_bytes == pytest.approx(250 * MB, rel=0.05)
    assert train.peak_allocated_bytes == pytest.approx(50 * MB, rel=0.05)
    assert save.peak_allocated_bytes < 5 * MB
    assert train.peak_resident_bytes < load.peak_resident_bytes - 100 * MB
    assert [phase.name for phase in meter.phases] == ["load", "train", "save"]


def _raise_in(meter: MemoryMeter) -> None:
    with meter.phase("train"):
        block = _fill(100)
        time.sleep(0.3)
        assert meter.current == "train"
        raise MemoryError(f"no room for more than {block.numel()}")


@pytest.mark.usefixtures("often")
def test_a_phase_that_raises_is_measured_too():
    meter = MemoryMeter("cpu", 0.001)
    with pytest.raises(MemoryError, match="no room"):
        _raise_in(meter)
    assert meter.current == "train"
    assert [phase.name for phase in meter.phases] == ["train"]
    assert meter.phases[0].peak_allocated_bytes == pytest.approx(100 * MB, rel=0.05)
    assert "memory-sampler" not in {thread.name for thread in threading.enumerate()}
    with meter.phase("save"):
        assert meter.current == "save"
    assert meter.current is None


@pytest.mark.skipif(SOURCE != "glibc", reason="other meters see mapped files as part of the resident set")
def test_weights_that_stay_in_their_mapped_file_count(tmp_path: Path):
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(60 * MB))
    meter = MemoryMeter("cpu", 0.001)
    with meter.phase("load") as load:
        weights = torch.from_file(str(path), size=15 * MB, dtype=torch.float32)
        assert float(weights.sum()) == 0
    del weights
    with meter.phase("train") as train:
        pass
    assert load.peak_allocated_bytes == pytest.approx(60 * MB, rel=0.05)
    assert train.peak_allocated_bytes < 5 * MB


@pytest.mark.usefixtures("often")
def test_without_glibc_the_resident_set_is_sampled_and_said_so(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "heap_reader", lambda: None)
    monkeypatch.setattr(process.Resident, "_CLEAR", tmp_path / "missing" / "clear_refs")
    meter = MemoryMeter("cpu", 0.001)
    with meter.phase("train") as phase:
        block = _fill(200)
        time.sleep(0.3)
        del block
    assert phase.memory_source == "resident"
    assert phase.peak_allocated_bytes == pytest.approx(200 * MB, rel=0.1)
    assert phase.peak_resident_bytes > 200 * MB


@pytest.mark.skipif(SOURCE != "glibc", reason="a reading of the resident set costs more")
def test_sampling_takes_little_time():
    def cpu_seconds(interval: float) -> float:
        meter = MemoryMeter("cpu", interval)
        began = time.process_time()
        with meter.phase("train"):
            time.sleep(2.0)
        return time.process_time() - began

    cpu_seconds(60.0)
    fixed = cpu_seconds(60.0)  # reading the mapped files at both ends of the phase
    assert (cpu_seconds(0.002) - fixed) / 2.0 < 0.05


@pytest.mark.gpu
def test_cuda_reports_the_allocator_and_the_device():
    meter = MemoryMeter("cuda")
    with meter.phase("train") as phase:
        block = torch.empty(500 * MB, dtype=torch.uint8, device="cuda").fill_(1)
        torch.cuda.synchronize()
        time.sleep(0.2)
        del block
    with meter.phase("save") as after:
        pass
    assert phase.memory_source == "cuda"
    assert phase.peak_allocated_bytes == pytest.approx(500 * MB, rel=0.02)
    assert phase.peak_reserved_bytes >= phase.peak_allocated_bytes
    assert phase.peak_device_bytes >= phase.peak_reserved_bytes
    assert after.peak_allocated_bytes < 10 * MB


def test_the_meter_works_in_a_fresh_process_before_torch_has_computed():
    code = (
        "from bench.measure.memory import MemoryMeter\n"
        "import torch\n"
        "meter = MemoryMeter('cpu')\n"
        "with meter.phase('load') as phase: kept = torch.ones(25_000_000)\n"
        "print(phase.peak_allocated_bytes)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert int(done.stdout) == pytest.approx(100 * MB, rel=0.05)


@pytest.mark.skipif(process.heap_reader() is None, reason="only glibc keeps what was freed, and tells of it")
def test_what_was_freed_before_a_phase_is_not_resident_in_it():
    meter = MemoryMeter("cpu")
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
    blocks = [libc.malloc(4096) for _ in range(20_000)]
    for block in blocks:
        ctypes.memset(block, 1, 4096)
    for block in blocks[:-1]:  # the last one keeps the end of the heap where it is
        libc.free(block)
    before = process.resident_bytes()
    with meter.phase("next") as phase:
        pass
    libc.free(blocks[-1])
    assert before - phase.peak_resident_bytes > 60 << 20

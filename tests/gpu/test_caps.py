"""Whether a run fits: the advisor's word, and what happens where torch may reserve only so much.

For each limit the largest run that is said to fit is done under it, and the smallest that is said not to fit.
"""

from pathlib import Path

import pytest

from bench.advise.units import GIB
from bench.records.schema import Status
from tests.gpu.suite import CAPS, Compared, again, fitting, refused

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(7200)]


@pytest.fixture
def here(gpu: str, compared: list[Compared]) -> list[Compared]:
    """The runs that were recorded on this machine's GPU."""
    return [each for each in compared if each.record.environment.device_name == gpu]


def _choice(found: Compared | None, gib: int) -> Compared:
    if found is None:
        pytest.fail(f"no recorded run is that near to {gib} GiB: make more of experiment=gpu_reference")
    return found


def _limits() -> list[int]:
    """Those below what the GPU has; all of them where there is none to ask."""
    import torch

    if not torch.cuda.is_available():
        return list(CAPS)
    return [gib for gib in CAPS if gib * GIB < torch.cuda.get_device_properties().total_memory]


def test_what_is_said_to_fit_fits(here: list[Compared], tmp_path: Path):
    for gib in _limits():
        run = _choice(fitting(here, gib), gib)
        record = again(run.record, tmp_path, memory_gib=gib)
        print(f"{gib:3} GiB  {record.run_id}  predicted {run.memory.reserved.high / GIB:.2f}  {record.status}")
        assert record.status is Status.OK, record.reason
        assert record.phase("train").peak_reserved_bytes <= gib * GIB
        assert record.environment.device_memory_bytes == gib * GIB


def test_what_is_said_not_to_fit_does_not(here: list[Compared], tmp_path: Path):
    for gib in _limits():
        run = _choice(refused(here, gib), gib)
        record = again(run.record, tmp_path, memory_gib=gib)
        print(f"{gib:3} GiB  {record.run_id}  predicted {run.memory.allocated.low / GIB:.2f}  {record.status}")
        assert record.status is Status.OOM, record.reason
        assert "OutOfMemoryError" in record.reason


def test_more_than_there_is_is_refused(here: list[Compared], tmp_path: Path):
    smallest = min(here, key=lambda each: each.memory.reserved.value)
    record = again(smallest.record, tmp_path, memory_gib=4096)
    assert record.status is Status.FAILED
    assert record.reason.startswith("ValueError: hardware.memory_gib must be <= ")

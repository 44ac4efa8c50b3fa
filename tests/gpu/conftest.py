"""The reference records of this machine's GPU: those that are there, and what is missing within the time given."""

import os
from functools import partial

import pytest

from bench.records.schema import Record
from tests.gpu.suite import REFERENCE, Compared, compare, load, make_missing

HOURS = "TUNEBENCH_GPU_HOURS"  # environment variable: how long to make missing records; 0: use what is there
DEFAULT_HOURS = 0.4


@pytest.fixture(scope="session")
def gpu() -> str:
    """Name of the CUDA device; whoever asks for these tests without one is told so."""
    import torch

    if not torch.cuda.is_available():
        pytest.fail("there is no CUDA device here, which tests/gpu needs", pytrace=False)
    return torch.cuda.get_device_name()


@pytest.fixture(scope="session")
def records(request: pytest.FixtureRequest) -> list[Record]:
    """All reference records; those of this machine's GPU are made first, the most important before the others."""
    hours = float(os.environ.get(HOURS, DEFAULT_HOURS))
    if hours:
        request.getfixturevalue("gpu")
        make_missing("gpu_reference", hours)
    found = load()
    if not found:
        pytest.fail(f"there is no reference record in {REFERENCE}; {HOURS} says how long to make some", pytrace=False)
    return found


@pytest.fixture(scope="session")
def compared(records: list[Record]) -> list[Compared]:
    """Every run that was trained, beside what the advisor says of it."""
    from bench.advise.tracer import traces

    return compare(records, partial(traces, workers=max(1, (os.cpu_count() or 1) // 2)))

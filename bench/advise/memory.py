"""From a trace and a card to what the device will hold, and whether that fits."""

from dataclasses import dataclass
from enum import StrEnum

from bench.advise.trace import Trace


class Verdict(StrEnum):
    """Whether a run fits on a card."""

    FITS = "fits"  # the upper bound is within the card's memory
    TIGHT = "tight"  # the prediction is, its upper bound is not
    DOES_NOT_FIT = "does not fit"


@dataclass(frozen=True)
class Estimate:
    """A prediction with the interval in which 95 of 100 measured values should lie; bytes or seconds."""

    value: float
    low: float
    high: float

    def verdict(self, usable: float) -> Verdict:
        """Whether so much memory is within `usable` bytes."""
        if self.high <= usable:
            return Verdict.FITS
        return Verdict.TIGHT if self.value <= usable else Verdict.DOES_NOT_FIT


@dataclass(frozen=True)
class Memory:
    """Peak memory of a run on a device; bytes."""

    allocated: Estimate
    reserved: Estimate
    device: Estimate  # reserved, and the context of the process on the card
    breakdown: dict[str, int]  # of `device`: the trace's categories, fragmentation and context
    peak_operation: str
    evidence: str = "traced"  # or "closed form"

    def verdict(self, usable_bytes: float) -> Verdict:
        """Whether it fits into `usable_bytes`."""
        return self.device.verdict(usable_bytes)


# How far below and above a trace's figure what is measured may be, as a share of it. On CUDA: the ten published runs of
# `tests/advise/test_published.py` lie between 4.9% below and 5.9% above. On a CPU: the seven runs of the default sweep
# lie between 15% below, as few batches have the longest row and a short peak escapes the sampling, and 3% above.
BELOW, ABOVE = 0.05, 0.06
CPU_BELOW, CPU_ABOVE = 0.16, 0.04
CONTEXT_SPREAD = 0.25  # of what CUDA itself takes, which differs between drivers


def estimate(
    trace: Trace, context_bytes: int, context_spread: float = CONTEXT_SPREAD, evidence: str = "traced"
) -> Memory:
    """What a device will hold.

    Args:
        trace: of the run.
        context_bytes: what CUDA itself takes on the card for a process, beside torch's allocator.
        context_spread: relative uncertainty of that.
        evidence: `traced` or `closed form`.
    """
    allocated, reserved = _around(trace.allocated_bytes), _around(trace.reserved_bytes)
    spread = context_spread * context_bytes
    device = Estimate(
        reserved.value + context_bytes,
        reserved.low + context_bytes - spread,
        reserved.high + context_bytes + spread,
    )
    fragmentation = trace.reserved_bytes - trace.allocated_bytes
    parts = {**trace.breakdown, "fragmentation": fragmentation, "context": context_bytes}
    return Memory(allocated, reserved, device, parts, trace.peak_operation, evidence)


def _around(value: float) -> Estimate:
    return Estimate(value, value * (1 - BELOW), value * (1 + ABOVE))

"""How long a step takes on a card: a roofline over the operations of a trace.

Every operation takes as long as its arithmetic or its memory traffic, whichever is longer, and never less than its
kernels take to start (Williams, Waterman & Patterson 2009, Roofline, Communications of the ACM 52:4). The device does
one after another; meanwhile the host prepares the next ones, so a step takes as long as the slower of the two. A CPU is
its own host and does both in turn.
"""

from dataclasses import dataclass

from bench.advise.card import Card, Constants
from bench.advise.memory import Estimate
from bench.advise.trace import Operation, Trace

COMPUTE, BANDWIDTH, LAUNCHES, HOST = "compute", "memory bandwidth", "kernel launches", "host"
ARITHMETIC = ("matmul", "attention")

# Half the width of the 95 % interval, relative, by what the constants rest on. `fitted`: with the constants fitted on
# each of the 45 pairs of the ten published runs (tests/advise), 95 % of the 360 errors on the other eight are within
# 8.1 % and all within 9.7 %; since those share a card, a model and a batch, half as much again. The other two are
# stated, not measured: there are no published runs of this kind on other cards.
SPREAD = {"default": 0.35, "fitted": 0.12, "calibrated": 0.2}


@dataclass(frozen=True)
class Speed:
    """The time of one optimizer step.

    Attributes:
        step: seconds.
        tokens_per_s: tokens that are not padding.
        bound: what takes most of it: `compute`, `memory bandwidth`, `kernel launches` or `host`.
        mfu: arithmetic of matrix products as a share of what the card could do in that time at its 16-bit peak.
        shares: of the device's time, by kind of operation.
        device_s: the device's time alone.
        host_s: the host's time alone.
        evidence: what the constants rest on: `default`, `fitted` or `calibrated`.
    """

    step: Estimate
    tokens_per_s: Estimate
    bound: str
    mfu: float
    shares: dict[str, float]
    device_s: float
    host_s: float
    evidence: str


def estimate(trace: Trace, card: Card, constants: Constants | None = None) -> Speed:
    """The time of a step of `trace` on `card`, by default with the card's own constants."""
    constants = constants or card.constants
    kinds: dict[str, float] = {}
    bounds: dict[str, float] = {}
    for operation in trace.operations:
        seconds, bound = _operation(operation, card, constants)
        kinds[operation.kind] = kinds.get(operation.kind, 0.0) + seconds * operation.count
        bounds[bound] = bounds.get(bound, 0.0) + seconds * operation.count
    device, host = sum(kinds.values()), trace.dispatches * constants.host_s
    total = device + host if card.family == "cpu" else max(device, host)
    if not total > 0:
        raise ValueError("a trace without operations tells no time")
    waiting = host if card.family == "cpu" else host * (host > device)
    bounds = {HOST: waiting} if waiting > device else bounds | {HOST: waiting}
    spread = SPREAD[constants.evidence]
    flops = sum(each.flops * each.count for each in trace.operations)
    rate = trace.tokens / total
    return Speed(
        step=Estimate(total, total * (1 - spread), total * (1 + spread)),
        tokens_per_s=Estimate(rate, rate / (1 + spread), rate / (1 - spread)),
        bound=max(bounds, key=lambda name: bounds[name]),
        mfu=flops / (total * max(card.half_flops, card.float32_flops)),
        shares={kind: seconds / device for kind, seconds in kinds.items()} if device else {},
        device_s=device,
        host_s=host,
        evidence=constants.evidence,
    )


def hours(speed: Speed, examples: int, epochs: float, examples_per_step: int, devices: int = 1) -> Estimate:
    """Hours that training takes, evaluation and loading left out.

    Args:
        speed: of one device's step.
        examples: in the training data.
        epochs: how often each is used.
        examples_per_step: of one device: micro batch times accumulation.
        devices: that train together on shares of a batch; what they tell each other is not counted.
    """
    steps = max(1.0, examples * epochs / (examples_per_step * devices))
    return Estimate(*(seconds * steps / 3600 for seconds in (speed.step.value, speed.step.low, speed.step.high)))


def _operation(operation: Operation, card: Card, constants: Constants) -> tuple[float, str]:
    """Seconds of one operation, and what bounds it."""
    share = constants.optimizer if operation.kind == "optimizer" else constants.bandwidth
    compute = operation.flops / (constants.matmul * card.peak(operation.dtype)) if operation.flops else 0.0
    times = {
        COMPUTE: compute,
        BANDWIDTH: operation.bytes / (share * card.bandwidth),
        LAUNCHES: operation.kernels * constants.kernel_s,
    }
    bound = max(times, key=lambda name: times[name])
    return times[bound], bound

"""What a card is: its facts, and the constants of the speed model that go with it."""

import functools
from dataclasses import dataclass, fields, replace
from typing import Any

from bench.advise.units import GIB
from bench.method import did_you_mean

EVIDENCE = ("default", "fitted", "calibrated")  # what constants may rest on
FAMILIES = ("cuda", "rocm", "mps", "cpu")
CONTEXT = {"cuda": 0.5, "rocm": 1.0, "mps": 0.0, "cpu": 0.0}  # GiB; an estimate until a card is calibrated


@dataclass(frozen=True)
class Constants:
    """What a device reaches of its peak, and what each operation costs it at least; see `bench.advise.speed`.

    Attributes:
        matmul: share of the peak rate that matrix products reach.
        bandwidth: share of the memory's bandwidth that other operations reach.
        optimizer: the same, of the optimizer's step.
        kernel_s: seconds that a kernel takes at least.
        host_s: seconds that Python and torch need to start an operation.
        evidence: `default` of the family, `fitted` to measured runs or `calibrated` on the device.
    """

    matmul: float
    bandwidth: float
    optimizer: float
    kernel_s: float
    host_s: float
    evidence: str = "default"


# Stated before they were compared with anything: shares that large products and elementwise operations reach on recent
# cards, and usual times of a launch. Unfitted they give the step times of the ten published runs (tests/advise) within
# 9 %, 3 % in the mean; those are all on an L40S, and the other families rest on nothing but experience. Processors
# differ more than cards, so on a CPU only `tunebench calibrate` tells.
DEFAULTS = {
    "cuda": Constants(matmul=0.72, bandwidth=0.75, optimizer=0.75, kernel_s=4e-6, host_s=8e-6),
    "rocm": Constants(matmul=0.50, bandwidth=0.65, optimizer=0.65, kernel_s=6e-6, host_s=8e-6),
    "mps": Constants(matmul=0.65, bandwidth=0.70, optimizer=0.70, kernel_s=10e-6, host_s=15e-6),
    "cpu": Constants(matmul=0.60, bandwidth=0.50, optimizer=0.50, kernel_s=2e-6, host_s=8e-6),
}


@dataclass(frozen=True)
class Card:
    """A device to train on.

    Attributes:
        name: that chooses it, such as `rtx-4090`.
        title: for people.
        family: `cuda`, `rocm`, `mps` or `cpu`.
        nominal_gb: memory as it is sold.
        memory_bytes: of it, what the driver gives to programs.
        bandwidth: of the memory, bytes a second.
        half_flops: peak rate of dense matrix products in bfloat16 and float16 that add up in float32.
        float32_flops: the same in float32; without TF32, which the harness leaves off.
        native_bfloat16: whether it computes bfloat16; else that goes at the rate of float32.
        unified_memory: whether the memory is the host's too.
        context_bytes: what the platform itself takes for a process.
        constants: of the speed model.
        aliases: other names of it.
        calibrated: the date on which it was measured; empty if it was not.
    """

    name: str
    title: str
    family: str
    nominal_gb: float
    memory_bytes: int
    bandwidth: float
    half_flops: float
    float32_flops: float
    native_bfloat16: bool
    unified_memory: bool
    context_bytes: int
    constants: Constants
    aliases: tuple[str, ...] = ()
    calibrated: str = ""

    @property
    def precision(self) -> str:
        """Of the computation, as `train.precision=auto` chooses it."""
        return "bfloat16" if self.native_bfloat16 else "float32"

    def peak(self, dtype: str) -> float:
        """Operations a second at best in `dtype`, such as `bfloat16`."""
        if dtype in ("float32", "float64") or (dtype == "bfloat16" and not self.native_bfloat16):
            return self.float32_flops
        return self.half_flops

    def summary(self) -> str:
        """One line of its facts."""
        rate, memory = self.half_flops / 1e12, f"{self.memory_bytes / GIB:.1f} GiB of {self.nominal_gb:g} GB"
        date = f", calibrated {self.calibrated}" if self.calibrated else ""
        return f"{self.title}: {memory}, {self.bandwidth / 1e9:.0f} GB/s, {rate:.3g} TFLOP/s in 16 bits{date}"


def card_from(facts: dict[str, Any], name: str) -> Card:
    """The card that `facts` describe, with the keys and units of a file of a card.

    Raises:
        ValueError: a key is missing, unknown, or its value is not possible.
    """
    needed = {"title", "family", "nominal_gb", "memory_gib", "bandwidth_gb_s", "half_tflops", "float32_tflops"}
    known = needed | {"aliases", "native_bfloat16", "unified_memory", "context_gib", "constants", "calibrated"}
    for key in facts.keys() - known:
        raise ValueError(f"card {name}: there is no key {key!r}{did_you_mean(str(key), known)}")
    if not isinstance(facts.get("aliases", []), list):
        raise ValueError(f"card {name}: aliases must be a list, got {facts['aliases']!r}")
    for key in sorted(needed - facts.keys()):
        raise ValueError(f"card {name}: {key} is missing")
    family = facts["family"]
    if family not in FAMILIES:
        raise ValueError(f"card {name}: family must be one of {', '.join(FAMILIES)}, got {family!r}")
    number = functools.partial(_number, name, facts)
    return Card(
        name=name,
        title=str(facts["title"]),
        family=family,
        nominal_gb=number("nominal_gb"),
        memory_bytes=int(number("memory_gib") * GIB),
        bandwidth=number("bandwidth_gb_s") * 1e9,
        half_flops=number("half_tflops") * 1e12,
        float32_flops=number("float32_tflops") * 1e12,
        native_bfloat16=bool(facts.get("native_bfloat16", family in ("cuda", "rocm"))),
        unified_memory=bool(facts.get("unified_memory", family in ("mps", "cpu"))),
        context_bytes=int(_number(name, {"context_gib": CONTEXT[family]} | facts, "context_gib", zero=True) * GIB),
        constants=_constants(name, family, facts.get("constants") or {}),
        aliases=tuple(map(str, facts.get("aliases", ()))),
        calibrated=str(facts.get("calibrated") or ""),
    )


def _constants(name: str, family: str, given: Any) -> Constants:
    if not isinstance(given, dict):
        raise ValueError(f"card {name}: constants must be keys with values, got {given!r}")
    evidence = given.get("evidence", "default")
    if evidence not in EVIDENCE:
        raise ValueError(f"card {name}: constants.evidence must be one of {', '.join(EVIDENCE)}, got {evidence!r}")
    known = [each.name for each in fields(Constants)]
    for key in given.keys() - set(known):
        raise ValueError(f"card {name}: there is no key 'constants.{key}'{did_you_mean(str(key), known)}")
    numbers = {key: _number(name, given, key, prefix="constants.") for key in given if key != "evidence"}
    return replace(DEFAULTS[family], **numbers, evidence=evidence)


def _number(name: str, facts: dict[str, Any], key: str, zero: bool = False, prefix: str = "") -> float:
    value = facts[key]
    possible = isinstance(value, int | float) and not isinstance(value, bool) and (value > 0 or (zero and value == 0))
    if not possible:
        raise ValueError(f"card {name}: {prefix}{key} must be a number {'>=' if zero else '>'} 0, got {value!r}")
    return float(value)

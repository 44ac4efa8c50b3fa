"""`tunebench calibrate`: measure the device at hand, and keep what the speed model wants to know of it.

A child process measures, since that needs torch. What it finds becomes a card in the user's own folder, which from then
on comes before the table's. Of a card in the table the nominal facts stay and what is reached of them is new; of any
other device the best that was measured stands for its peak.
"""

import argparse
import datetime
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.advise import cards
from bench.advise.card import Card, card_from
from bench.advise.units import GIB
from bench.measure.environment import cpu_cores, hardware_name, sees_cuda

QUIET = 0.1  # share of the cores that other programs may keep busy
DEVICES = ("auto", "cuda", "mps", "cpu")
ABOUT = {
    "facts": "the device",
    "context": "memory that the platform takes",
    "float32": "matrix products in float32",
    "bfloat16": "matrix products in bfloat16",
    "memory": "bandwidth of the memory",
    "kernel": "the shortest operation",
    "host": "host time of an operation",
    "optimizer": "the optimizer's step",
}
DESCRIPTION = """\
Measure how fast the device at hand computes, moves memory and starts operations, in under three minutes. The result is
a card that `tunebench advise` uses from then on. Where other programs keep the machine busy, nothing is kept without
--out.
"""


class CannotMeasure(ValueError):
    """The device could not be measured; the message says why."""


def main(arguments: Sequence[str]) -> int:
    """Run `tunebench calibrate`; the exit code is 2 if there is no such device or it cannot be measured."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("tunebench calibrate", description=DESCRIPTION, formatter_class=raw)
    parser.add_argument("--device", default="auto", choices=DEVICES, help="default: CUDA, else MPS, else the CPU")
    out = f"the file to write (default: the card's name in {cards.own_folder()})"
    parser.add_argument("--out", type=Path, metavar="FILE.yaml", help=out)
    options = parser.parse_args(arguments)
    try:
        device = _device(options.device)
        found = measure(device, lambda name: print(f"  {ABOUT[name]} ...", file=sys.stderr, flush=True))
        name, facts = described(device, found, datetime.date.today().isoformat())
        card = card_from(facts, name)
        print(_told(card))
        busy = found["busy"] or 0.0
        if busy > QUIET * cpu_cores() and not options.out:  # such figures are off by several times
            raise CannotMeasure(f"other programs kept {busy:.1f} cores busy: nothing is written without --out")
        file = options.out or cards.own_folder() / f"{name}.yaml"
        _write(file, card, facts)
    except ValueError as error:
        print(f"tunebench calibrate: {error}", file=sys.stderr)
        return 2
    print(f"written to {file}")
    return 0


def measure(device: str, progress: Callable[[str], None]) -> dict[str, Any]:
    """What the probes of `bench.trace.calibrate` find.

    Args:
        device: `cuda`, `mps` or `cpu`.
        progress: told which probe begins.

    Raises:
        CannotMeasure: the child process fails.
    """
    command = [sys.executable, "-m", "bench.trace.calibrate", device]
    found: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        for event in _events(child):
            if "found" in event:
                found[event["probe"]] = event["found"]
            else:
                progress(event["probe"])
        errors = child.stderr.read() if child.stderr else ""
    if child.returncode or "busy" not in found:
        last = (errors.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise CannotMeasure(f"{device} could not be measured: {last}")
    return found


def described(device: str, found: dict[str, Any], date: str) -> tuple[str, dict[str, Any]]:
    """Name and facts of the card that was measured, with the keys of a card's file.

    Args:
        device: `cuda`, `mps` or `cpu`.
        found: by `measure`.
        date: of today.
    """
    name, known = _known(device, found)
    best32, half = max(found["float32"]), found["bfloat16"] or found["float32"]
    peak = known.peak("bfloat16" if found["bfloat16"] else "float32") if known else max(half)
    bandwidth = known.bandwidth if known else max(found["memory"])
    memory = found["facts"].get("memory_bytes") or cards.host_memory()
    facts = {
        "title": known.title if known else found["facts"].get("device_name") or hardware_name(device),
        "family": known.family if known else device,
        "nominal_gb": known.nominal_gb if known else round(memory / GIB),
        "memory_gib": round(memory / GIB, 2),
        "bandwidth_gb_s": round(bandwidth / 1e9, 1),
        "half_tflops": _rounded((known.half_flops if known else max(half)) / 1e12),
        "float32_tflops": _rounded((known.float32_flops if known else best32) / 1e12),
        "native_bfloat16": known.native_bfloat16 if known else bool(found["bfloat16"]),
        "unified_memory": device != "cuda",
        "calibrated": date,
        "constants": {
            "matmul": _rounded(min(1.0, statistics.median(half) / peak)),
            "bandwidth": _rounded(min(1.0, statistics.mean(found["memory"]) / bandwidth)),
            "optimizer": _rounded(min(1.0, found["optimizer"] / bandwidth)),
            "kernel_s": _rounded(found["kernel"]),
            "host_s": _rounded(found["host"]),
            "evidence": "calibrated",
        },
    }
    if found["context"] is not None:
        facts["context_gib"] = round(found["context"] / GIB, 3)
    elif known:
        facts["context_gib"] = known.context_bytes / GIB
    return name, facts


def _device(asked: str) -> str:
    if asked != "auto":
        return asked
    name = hardware_name()
    return "cuda" if sees_cuda() else "mps" if name.startswith("apple-") else "cpu"


def _known(device: str, found: dict[str, Any]) -> tuple[str, Card | None]:
    """The name of the card, and the table's facts of it where it has them."""
    if device == "cpu":
        return hardware_name("cpu"), None
    memory = found["facts"]["memory_bytes"]
    asked = found["facts"].get("device_name") or cards.apple_name()
    try:
        card = cards.load(asked, memory if device == "cuda" else None)
    except cards.UnknownCard:
        return (hardware_name(device) if device == "cuda" else asked), None
    return card.name, card


def _events(child: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    assert child.stdout is not None
    for line in child.stdout:
        yield json.loads(line)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _told(card: Card) -> str:
    constants = card.constants
    return f"""{card.name}: {card.summary()}
  matrix products reach {constants.matmul:.0%} of the peak, memory {constants.bandwidth:.0%}, the optimizer's step \
{constants.optimizer:.0%}
  an operation takes the device at least {constants.kernel_s * 1e6:.1f} us and the host \
{constants.host_s * 1e6:.1f} us"""


def _write(file: Path, card: Card, facts: dict[str, Any]) -> None:
    import yaml

    head = f"# {card.title}\n# Measured by `tunebench calibrate` on {card.calibrated}\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(head + yaml.safe_dump(facts, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise CannotMeasure(f"cannot write {file}: {error.strerror}") from error

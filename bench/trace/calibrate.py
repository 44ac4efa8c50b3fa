"""`python -m bench.trace.calibrate DEVICE` measures what the speed model of `bench.advise` wants to know of a device.

Each probe says when it begins and what it found, a JSON object a line. Bytes and operations are counted as they are in
a trace, by the same recorder, so that what is measured here means what it means there.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.measure.clock import ForeignCpu
from bench.trace.recorder import Recorder
from bench.train.precision import compute_precision

# Rows, inputs and outputs of matrix products as the layers of models of 1 to 8 billion parameters have them; on a CPU
# as the small models have them that are trained there.
PRODUCTS = {
    "gpu": ((1024, 2048, 2048), (2048, 4096, 4096), (4096, 4096, 11008), (8192, 8192, 8192)),
    "cpu": ((256, 512, 512), (512, 1024, 1024), (1024, 1024, 4096)),
}
ELEMENTS = {"gpu": 2**27, "cpu": 2**24}  # of a tensor that no cache holds
PROBE_S = 1.0  # seconds that a probe is repeated for
WARM_UP = 2
TINY = 1000  # kernels in a row


class Probe:
    """A device and how time is measured on it."""

    def __init__(self, device: str) -> None:
        self.device, self.size = device, "cpu" if device == "cpu" else "gpu"

    def settle(self) -> None:
        """Wait until the device has done all it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        elif self.device == "mps":
            torch.mps.synchronize()

    def seconds(self, work: Callable[[], Any]) -> float:
        """The time of `work`: the tenth percentile of as many repetitions as fit into a probe's time, five at least.

        What else the machine does only makes it longer, so the short ones tell more of the device than the middle.
        """
        for _ in range(WARM_UP):
            work()
        times: list[float] = []
        end = time.perf_counter() + PROBE_S
        while len(times) < 5 or time.perf_counter() < end:
            self.settle()
            began = time.perf_counter()
            work()
            self.settle()
            times.append(time.perf_counter() - began)
        return float(np.percentile(times, 10))

    def random(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """A tensor of random numbers."""
        return torch.randn(*shape, device=self.device).to(dtype)

    def matmul(self, dtype: torch.dtype) -> list[float]:
        """Operations a second of each matrix product."""
        rates = []
        for rows, inputs, outputs in PRODUCTS[self.size]:
            left, right = self.random(rows, inputs, dtype=dtype), self.random(inputs, outputs, dtype=dtype)
            rates.append(2.0 * rows * inputs * outputs / self.seconds(partial(torch.mm, left, right)))
        return rates

    def memory(self) -> list[float]:
        """Bytes a second of a copy, and of an operation with two operands that makes a new tensor."""
        one, other = self.random(ELEMENTS[self.size]), self.random(ELEMENTS[self.size])
        size = one.numel() * one.element_size()
        copy, product = self.seconds(partial(one.copy_, other)), self.seconds(partial(torch.mul, one, other))
        return [2 * size / copy, 3 * size / product]

    def kernel(self) -> float:
        """Seconds of an operation on next to nothing, without what the host needs to start it."""
        tensor = self.random(256)

        def tiny() -> None:
            for _ in range(TINY):
                tensor.add_(1.0)

        if self.device != "cuda":
            return max(1e-7, self.seconds(tiny) / TINY - self.started(tensor))
        busy = self.random(8192, 8192)
        for _ in range(20):  # so much that the host is done with the small ones before the device gets to them
            busy = torch.mm(busy, busy)
        began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        began.record()
        tiny()
        ended.record()
        self.settle()
        return began.elapsed_time(ended) / 1000 / TINY

    def started(self, tensor: torch.Tensor) -> float:
        """Seconds of an operation that does nothing, a view."""
        return self.seconds(lambda: [tensor.view(-1) for _ in range(TINY)]) / TINY

    def host(self) -> float:
        """Seconds of host time for each operation of a small network's forward and backward pass."""
        layers = [layer for _ in range(8) for layer in (nn.Linear(16, 16), nn.SiLU(), nn.LayerNorm(16))]
        network, batch = nn.Sequential(*layers).to(self.device), self.random(4, 16)

        def step() -> None:
            network(batch).sum().backward()

        recorder = counted(step)
        return self.seconds(step) / recorder.dispatches["all"]

    def optimizer(self) -> float:
        """Bytes a second of the common optimizer's step, counted as in a trace."""
        parameter = nn.Parameter(self.random(ELEMENTS[self.size] // 4))
        parameter.grad = torch.ones_like(parameter)
        optimizer = torch.optim.AdamW([parameter], fused=True)
        optimizer.step()
        moved = sum(operation.bytes for _, _, operation in counted(optimizer.step).operations)
        return moved / self.seconds(optimizer.step)


def counted(work: Callable[[], Any]) -> Recorder:
    """What a recorder sees of `work`."""
    recorder = Recorder(pretend=False)
    recorder.counting = "all"
    with recorder:
        work()
    return recorder


def facts(device: str) -> dict[str, Any]:
    """What the device says of itself."""
    if device == "cuda":
        properties = torch.cuda.get_device_properties()
        return {"device_name": properties.name, "memory_bytes": properties.total_memory}
    if device == "mps":
        return {"memory_bytes": torch.mps.recommended_max_memory()}
    return {}


def context_bytes(before: int | None) -> int | None:
    """What the driver counts as used on the device since `before`, beside torch's allocator: this process's context."""
    torch.mm(torch.ones(64, 64, device="cuda"), torch.ones(64, 64, device="cuda"))
    torch.cuda.synchronize()
    now = used_bytes()
    return None if before is None or now is None else max(0, now - torch.cuda.memory_reserved() - before)


def used_bytes() -> int | None:
    """Bytes in use on the first visible GPU, by whatever process; None where nvidia-smi does not tell."""
    visible = (os.environ.get("CUDA_VISIBLE_DEVICES") or "0").split(",")[0]
    query = ("nvidia-smi", f"--id={visible}", "--query-gpu=memory.used", "--format=csv,noheader,nounits")
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.split()[0]
        return int(told) * 2**20
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return None


def main() -> None:
    """Carry out all probes."""
    device = sys.argv[1]
    torch.backends.cuda.matmul.allow_tf32 = False  # as in training
    if not {"cuda": torch.cuda, "mps": torch.backends.mps, "cpu": torch.cpu}[device].is_available():
        sys.exit("torch finds no such device here")
    before = used_bytes() if device == "cuda" else 0
    probe = Probe(device)
    half = compute_precision("auto", device) == "bfloat16" or device == "mps"
    probes: dict[str, Callable[[], Any]] = {
        "facts": lambda: facts(device),
        "context": lambda: context_bytes(before) if device == "cuda" else 0,
        "float32": lambda: probe.matmul(torch.float32),
        "bfloat16": lambda: probe.matmul(torch.bfloat16) if half else None,
        "memory": probe.memory,
        "kernel": probe.kernel,
        "host": probe.host,
        "optimizer": probe.optimizer,
    }
    others = ForeignCpu()
    others.start()
    for name, measure in probes.items():
        print(json.dumps({"probe": name}), flush=True)
        with torch.set_grad_enabled(name == "host"):
            found = measure()
        print(json.dumps({"probe": name, "found": found}), flush=True)
    others.stop()
    print(json.dumps({"probe": "busy", "found": others.cores()}), flush=True)


if __name__ == "__main__":
    main()

"""Where the time of a training step goes, by torch's profiler: `python -m tests.benchmarks.profile_step [METHOD]`."""

import sys
from collections import defaultdict

from torch.profiler import ProfilerActivity, profile

from tests.benchmarks.comparators import WARMUP, ours
from tests.benchmarks.jobs import docstrings, job

STEPS = 6
LINES = 16


def main(method: str = "lora") -> None:
    """Print the operations of a step by their own time."""
    trained = job(method, docstrings(160), batch_size=8)
    ours(trained, WARMUP)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        pace = ours(trained, STEPS)
    seconds: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for event in found.key_averages():
        seconds[event.key] += event.self_cpu_time_total / 1e6 / STEPS
        calls[event.key] += event.count
    total = sum(seconds.values())
    print(f"{method}: {total * 1e3:.0f} ms a step in torch, {sum(pace.tokens) / STEPS:,.0f} tokens")
    largest = sorted(seconds, key=seconds.__getitem__, reverse=True)[:LINES]
    width = max(map(len, largest))
    for key in largest:
        print(f"{key:{width}} {seconds[key] * 1e3:7.1f} ms {seconds[key] / total:6.1%} {calls[key] // STEPS:6}x")
    rest = total - sum(seconds[key] for key in largest)
    print(f"{'the rest':{width}} {rest * 1e3:7.1f} ms {rest / total:6.1%}")


if __name__ == "__main__":
    main(*sys.argv[1:])

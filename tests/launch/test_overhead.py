"""What the launcher itself costs: the start of a run in a warm sweep, and its own time beside the runs.

    OMP_NUM_THREADS=1 python -m pytest -m benchmark tests/launch

on a machine that does nothing else.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.launch import launch

ROOT = Path(__file__).parents[2]
RUNS = 8


@pytest.mark.benchmark
def test_a_run_starts_within_half_a_second_in_a_warm_sweep(make_run, view, benchmark):
    """From the launcher's decision to the first line of the real worker, all imports done."""
    decided, started = [], []
    start, event = view.start, view.event

    def note_start(run) -> None:
        decided.append(time.perf_counter())
        start(run)

    def note_event(what) -> None:
        if what["event"] == "started":
            started.append(time.perf_counter())
        event(what)

    view.start, view.event = note_start, note_event
    runs = [make_run("lora", seed=seed, timeout=0.001) for seed in range(RUNS)]

    def sweep() -> None:
        launch(runs, view, grace=0.0)  # each is ended as soon as it has started

    benchmark.pedantic(sweep, rounds=1)
    seconds = [after - before for before, after in zip(decided, started, strict=True)][1:]  # the first warms the server
    benchmark.extra_info["start_s"] = statistics.median(seconds)
    print(f"start of a run: median {statistics.median(seconds):.3f} s, longest {max(seconds):.3f} s")
    assert statistics.median(seconds) < 0.5


SWEEP = """
import sys, time
from bench.__main__ import main

if __name__ == "__main__":  # the fork server's children import their parent's main module
    sys.argv = ["tunebench", "sweep", "results={results}"]
    began = time.perf_counter()
    assert main() == 0
    own = time.process_time()
    print(f"{{own}} {{time.perf_counter() - began}}")
"""


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_the_launcher_s_own_time_is_less_than_a_hundredth_of_the_sweep_s(tmp_path, benchmark):
    """CPU seconds of the launching process, imports, planning and table included, over the default sweep's seconds."""
    script = tmp_path / "sweep.py"
    script.write_text(SWEEP.format(results=tmp_path / "results"))

    def sweep() -> str:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, str(script)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    own, wall = map(float, benchmark.pedantic(sweep, rounds=1).splitlines()[-1].split())
    print(f"launcher {own:.2f} s of CPU in a sweep of {wall:.0f} s")
    assert own < 0.01 * wall

"""Forty runs, and SIGKILL for children and launchers at random moments: in the end there are forty right records."""

import contextlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.records import store
from bench.records.schema import Status

HERE = Path(__file__).parent
RUNS, KILLS = 40, 20
SCRIPT = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from bench.config import Budget, Launch, Measure, Model, Run, Task, Train
from bench.launch import launch
from bench.launch.view import View
from bench.method import get

def make(method, seed):
    return Run(
        get(method)(),
        model=Model(name="tiny", path={tiny!r}),
        task=Task(
            name="sums", source="arithmetic", kind="generation", train_examples=16, validation_examples=3,
            test_examples=2, max_length=64, max_new_tokens=2,
        ),
        budget=Budget(name="few", steps=12),
        train=Train(batch_size=4, precision="float32", save_every=3),
        measure=Measure(warmup_steps=1, forgetting=False),
        launch=Launch(predict=False),
        seed=seed,
        results=sys.argv[1],
    )

runs = [make(method, seed) for seed in range(13) for method in ("lora", "prompt", "full")]
if __name__ == "__main__":
    launch(runs, View(sys.stderr), worker="fault_workers:slow_steps", preload="bench.launch.preload")
"""


@pytest.fixture
def sweep(tiny_llama, tmp_path):
    """Starts the sweep of 39 runs and their base run on a folder of results."""
    script = tmp_path / "sweep.py"
    script.write_text(SCRIPT.format(root=str(HERE.parents[1]), here=str(HERE), tiny=tiny_llama))
    log = (tmp_path / "said.txt").open("w")
    started: list[subprocess.Popen] = []

    def start(results: Path) -> subprocess.Popen:
        started.append(subprocess.Popen([sys.executable, str(script), str(results)], stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def _worker(parent: subprocess.Popen, age: float) -> psutil.Process | None:
    """The child that works on a run, below the fork server, when one is `age` seconds old; None if none comes."""
    for _ in range(300):
        with contextlib.suppress(psutil.Error):
            servers = [p for p in psutil.Process(parent.pid).children() if "forkserver" in " ".join(p.cmdline())]
            for child in (child for server in servers for child in server.children()):
                if time.time() - child.create_time() >= age:
                    return child
        time.sleep(0.1)
    return None


def _results(folder: Path) -> dict[str, tuple[list[float], float]]:
    """Losses of the steps and of validation, by run."""
    found, damaged = store.scan([folder])
    assert damaged == []
    assert {record.status for record in found.values()} == {Status.OK}
    assert len({record.run_id for record in found.values()}) == len(found) == RUNS
    told = {}
    for path, record in found.items():
        lines = store.read_lines(path / store.STEPS) if record.training else []
        assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
        told[record.run_id] = ([line["loss"] for line in lines], record.evaluation.validation.loss)
    return told


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_forty_runs_survive_twenty_kills(sweep, tmp_path):
    undisturbed = tmp_path / "undisturbed"
    began = time.monotonic()
    assert sweep(undisturbed).wait() == 0
    seconds = time.monotonic() - began

    disturbed, seed = tmp_path / "disturbed", random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}, undisturbed sweep {seconds:.0f} s")
    chance = random.Random(seed)
    parent, kills, launches = sweep(disturbed), {"child": 0, "parent": 0}, 1
    while True:
        pause = chance.uniform(0.5, seconds / 20) if sum(kills.values()) < KILLS else None
        try:
            assert parent.wait(pause) in (0, -signal.SIGKILL)
        except subprocess.TimeoutExpired:
            whom = chance.choice(list(kills))
            victim = parent if whom == "parent" else _worker(parent, chance.uniform(0.0, 2.0))
            if victim is not None:
                victim.send_signal(signal.SIGKILL)
                kills[whom] += 1
                print(f"kill {sum(kills.values())}: {whom}")
            continue
        statuses = [record.status for record in store.load([disturbed])[0]]
        if sum(kills.values()) >= KILLS and statuses.count(Status.OK) == RUNS:
            break
        parent, launches = sweep(disturbed), launches + 1
        assert launches < 60
    print(f"{kills}, {launches} launches")
    assert _results(disturbed) == _results(undisturbed)
    histories = [record.history for record in store.load([disturbed])[0]]
    resumed = [r.training.resumed_at for r in store.load([disturbed])[0] if r.training and r.training.resumed_at]
    print(f"{sum(map(len, histories))} earlier attempts, {len(resumed)} runs went on from a checkpoint")
    assert any(histories)

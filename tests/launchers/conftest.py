import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "task=arithmetic", "task.train_examples=32", "task.validation_examples=4", "task.test_examples=3", "budget.steps=2",
    "train.batch_size=4", "train.precision=float32", "task.max_new_tokens=2", "measure.forgetting=false",
    "launch.predict=false",
)  # fmt: skip

# A Slurm of three small programs: `sbatch` starts an array's jobs at once, on this machine, `srun` runs its command.
SBATCH = """#!/bin/sh
cp "$1" {folder}/sbatch.sh
jobs=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
for job in $(seq 0 "$jobs"); do
    SLURM_JOB_ID=$((4711 + job)) SLURM_ARRAY_JOB_ID=4711 SLURM_ARRAY_TASK_ID=$job SLURM_JOB_NUM_NODES=1 \\
        SLURM_JOB_NODELIST=localhost SLURM_NODEID=0 SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 \\
        sh {folder}/sbatch.sh >{folder}/job-$job.log 2>&1 </dev/null &
    echo "4711_$job|$!" >>{folder}/jobs
done
echo "Submitted batch job 4711"
"""
SRUN = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do
    case "$1" in --output|--error) shift ;; esac
    shift
done
exec "$@"
"""
SACCT = """#!/bin/sh
echo "JobID|State|NodeList"
while IFS='|' read -r job pid; do
    state=COMPLETED
    if kill -0 "$pid" 2>/dev/null; then state=RUNNING; fi
    echo "$job|$state|localhost"
done <{folder}/jobs
"""

COMMAND = [sys.executable, "-W", "error::UserWarning:bench", "-m", "bench"]
Done = subprocess.CompletedProcess[str]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch):
    for key, value in {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def type_(tmp_path: Path) -> Callable[..., Done]:
    """Runs `tunebench` with these words in an empty folder; whatever Hydra warns of is an error."""
    return lambda *words: subprocess.run([*COMMAND, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300)


@pytest.fixture
def small(tiny_llama: str) -> tuple[str, ...]:
    """The overrides of a short run on a tiny model."""
    return (*SMALL, f"model.path={tiny_llama}", "model.name=tiny")


@pytest.fixture
def sweep(type_: Callable[..., Done], small: tuple[str, ...]) -> Callable[..., Done]:
    """Runs a sweep of short runs."""
    return lambda *words: type_("sweep", *small, *words)


@pytest.fixture
def start(tmp_path: Path, small: tuple[str, ...]) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts such a sweep in a session of its own, which does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> "subprocess.Popen[str]":
        command, pipe = [*COMMAND, "sweep", *small, *words], subprocess.PIPE
        started.append(
            subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        )
        return started[-1]

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def records(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """Reads what is there."""
    return lambda: [json.loads(path.read_text()) for path in sorted(tmp_path.glob("results/runs/*/*/record.json"))]


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a Slurm in the path; returns the folder in which the last submission is kept as sbatch.sh."""
    folder = tmp_path_factory.mktemp("slurm")
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text.replace("{folder}", str(folder)))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return folder

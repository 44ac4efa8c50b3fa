"""Sweeps in the hands of Hydra's launchers: real ones, real child processes, the real worker on a tiny model."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bench.config import Run
from bench.method import get
from bench.sweep import do_one, found_anywhere, sum_up

BEGINS = "2 runs handed to {}; `tunebench status` shows how far they are\n"


def rows_that_are_ok(table: str) -> list[str]:
    return [line.split()[0] for line in table.splitlines() if line.split()[-1:] == ["ok"]]


def check(done: subprocess.CompletedProcess[str], launcher: str, records, folder: Path) -> None:
    """All that a sweep of lora and prompt must have left and said."""
    assert done.returncode == 0, done.stderr
    assert BEGINS.format(launcher) in done.stderr
    assert [(r["method"], r["status"]) for r in records()] == [("base", "ok"), ("lora", "ok"), ("prompt", "ok")]
    table, _, rest = done.stdout.partition("\nRecords: ")
    assert rows_that_are_ok(table) == ["base", "lora", "prompt"]
    assert Path(rest.splitlines()[0]).parent == folder / "results" / "runs"
    assert done.stdout.count("Records: ") == 1
    assert {path.name for path in folder.iterdir()} == {"results"}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("basic", "submitit_local")]


@pytest.mark.parametrize("launcher", ["joblib", *SLOW])
def test_a_sweep_ends_in_one_table_and_typed_again_runs_nothing(launcher: str, sweep, type_, records, tmp_path: Path):
    done = sweep(f"hydra/launcher={launcher}", "method=lora,prompt")
    check(done, launcher, records, tmp_path)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}
    again = sweep(f"hydra/launcher={launcher}", "method=lora,prompt")
    assert (again.stdout, again.returncode) == (done.stdout, 0)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")} == written
    table = type_("table")
    assert (table.stdout, table.stderr) == (done.stdout.partition("\nRecords: ")[0], "")


@pytest.mark.slow
def test_the_runs_and_their_losses_are_those_of_the_own_launcher(sweep, records):
    assert sweep("method=lora").returncode == 0
    own = {record["run_id"]: record for record in records()}
    assert sweep("hydra/launcher=joblib", "method=lora", "launch.rerun=all").returncode == 0
    again = {record["run_id"]: record for record in records()}
    assert again.keys() == own.keys()
    for run_id, record in again.items():
        assert record["started_at"] > own[run_id]["started_at"]
        assert record["evaluation"]["validation"]["loss"] == own[run_id]["evaluation"]["validation"]["loss"]


@pytest.mark.slow
def test_a_run_that_fails_is_a_row_and_the_others_are_done(sweep, records):
    done = sweep("hydra/launcher=joblib", "method=lora", "train.warmup=0", "method.learning_rate=1e20,1e-3")
    assert done.returncode == 1
    found = {r["config"]["method"]["learning_rate"]: r["status"] for r in records() if r["method"] == "lora"}
    assert found == {1e20: "diverged", 1e-3: "ok"}
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_batches_follow_each_other(sweep, records):
    done = sweep("hydra/launcher=basic", "hydra.sweeper.max_batch_size=1", "method=lora,prompt")
    assert done.returncode == 0, done.stderr
    assert [record["method"] for record in records()] == ["base", "lora", "prompt"]


def test_slurm_gets_one_array_with_the_options_that_were_given(sweep, records, slurm: Path, tmp_path: Path):
    options = ("hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=1", "hydra.launcher.timeout_min=90")
    done = sweep("hydra/launcher=submitit_slurm", *options, "method=lora,prompt")
    check(done, "submitit_slurm", records, tmp_path)
    asked = [line for line in (slurm / "sbatch.sh").read_text().splitlines() if line.startswith("#SBATCH")]
    assert {"--array=0-1%2", "--partition=gpu", "--gpus-per-node=1", "--time=90", "--nodes=1"} <= {
        line.partition(" ")[2] for line in asked
    }


def test_without_slurm_it_says_so(sweep, tmp_path: Path):
    done = sweep("hydra/launcher=submitit_slurm", "method=lora")
    assert (done.stderr, done.stdout, done.returncode) == (
        "1 run handed to submitit_slurm; `tunebench status` shows how far they are\n"
        'submitit_slurm: Could not detect "srun", are you indeed on a slurm cluster?\n'
        "2 of 2 runs have no record; type the same command again to do what is missing\n",
        "",
        1,
    )


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "basic"])
def test_ctrl_c_ends_it_with_130_and_the_table_of_what_is_done(launcher: str, start, tmp_path: Path):
    process = start(f"hydra/launcher={launcher}", "method=lora,prompt", "budget.steps=100000")
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob("results/runs/*/*/steps.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    shown, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "have no record; type the same command again to do what is missing\n" in said
    assert "Traceback" not in said
    assert rows_that_are_ok(shown) == ["base"]


def run(folder: Path) -> Run:
    return Run(get("lora")(), results=str(folder))


def test_a_job_on_a_machine_that_lacks_the_folder_says_so_and_lets_others_go_on(tmp_path: Path, capsys):
    assert do_one(run(tmp_path), tmp_path / "gone", ["tunebench"]) == []
    said = f"{run(tmp_path).run_id()} is not done: [Errno 2] No such file or directory: '{tmp_path / 'gone'}'\n"
    assert capsys.readouterr().err == said


def test_runs_without_records_are_counted_and_make_the_exit_code_1(tmp_path: Path, capsys):
    assert sum_up([run(tmp_path)], []) == 1
    assert tuple(capsys.readouterr()) == (
        "", "2 of 2 runs have no record; type the same command again to do what is missing\n",
    )  # fmt: skip


def test_records_are_found_on_whatever_hardware_they_were_made(tmp_path: Path):
    wanted = run(tmp_path)
    assert found_anywhere([wanted]) == []
    for machine in ("nvidia-a", "nvidia-b"):
        (tmp_path / "runs" / machine).mkdir(parents=True)
    base, own = wanted.base().run_id(), wanted.run_id()
    assert found_anywhere([wanted]) == [
        tmp_path / "runs" / machine / run_id for run_id in (base, own) for machine in ("nvidia-a", "nvidia-b")
    ]

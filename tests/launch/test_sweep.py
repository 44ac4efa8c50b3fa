"""Which runs are due, in which order, and that two sweeps do not do the same run at once."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from bench.launch.sweep import folder_of, with_bases
from bench.records import store
from bench.records.attempt import Attempt
from bench.records.schema import Status

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def _order(run) -> list[str]:
    path = folder_of(run).parent / "order.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_base_runs_come_first_and_once(go, make_run):
    runs = [make_run("lora"), make_run("lora", seed=1), make_run("prompt")]
    records = go(runs, "ok")
    ids = [runs[0].base().run_id(), *[run.run_id() for run in runs]]
    assert [record.run_id for record in records] == ids
    assert _order(runs[0]) == ids


def test_a_base_run_in_the_list_and_a_repetition_are_done_once(make_run):
    base, lora = make_run(), make_run("lora")
    assert [run.run_id() for run in with_bases([lora, base, lora])] == [base.run_id(), lora.run_id()]
    assert with_bases([base]) == [base]


def test_a_failing_run_leaves_the_others_alone(go, make_run):
    records = go([make_run("lora"), make_run("prompt")], "raises_for_lora")
    assert [record.status for record in records] == [Status.OK, Status.CRASHED, Status.OK]


def test_final_records_are_skipped(go, make_run, view):
    runs = [make_run("lora"), make_run("prompt")]
    first = go(runs, "ok")
    again = go(runs, "raises")
    assert again == first
    assert view.text.getvalue().splitlines()[-1] == "3 runs are done already"


def test_a_run_that_did_not_end_well_is_tried_again(go, make_run):
    run = make_run()
    assert go([run], "raises")[0].status is Status.CRASHED
    assert go([run], "ok")[0].status is Status.OK


@pytest.mark.parametrize(
    ("rerun", "first", "runs_again"),
    [
        ("none", "out_of_memory", False),
        ("failed", "out_of_memory", True),
        ("failed", "ok", False),
        ("all", "out_of_memory", True),
        ("all", "ok", True),
    ],
)
def test_rerun(go, make_run, rerun, first, runs_again):
    (before,) = go([make_run()], first)
    (after,) = go([make_run(rerun=rerun)], "raises")
    assert after.status is (Status.CRASHED if runs_again else before.status)


def test_a_run_starts_in_an_empty_folder_and_knows_the_attempts_before(go, make_run):
    run = make_run()
    go([run], "raises")
    (folder_of(run) / store.STEPS).write_text('{"step": 1}\n')
    go([run], "ok")
    assert sorted(path.name for path in folder_of(run).iterdir()) == ["attempt.json", "record.json", "worker.log"]
    assert Attempt.read(folder_of(run)).history == ["crashed: ended with exit code 1 and without a record"]
    assert "LookupError" not in (folder_of(run) / "worker.log").read_text()


def test_a_damaged_record_is_named_and_done_again(go, make_run, view):
    run = make_run()
    go([run], "ok")
    path = folder_of(run) / store.RECORD
    path.write_text("{")
    assert go([run], "ok")[0].status is Status.OK
    assert f"a damaged record, the run is done again: {path}" in view.text.getvalue()
    assert store.read(path).status is Status.OK


def test_a_run_that_another_process_does_is_waited_for_and_then_taken_over(go, make_run, view, monkeypatch):
    run = make_run()
    folder = folder_of(run)
    code = f"""
import pathlib, sys
sys.path[:0] = [{str(ROOT)!r}, {str(HERE)!r}]
from bench.config import Run
from bench.records.schema import Status
from fake_workers import write
folder = pathlib.Path({str(folder)!r})
from bench.launch.locks import Lock
lock = Lock.take(folder.parent / ".locks" / (folder.name + ".lock"))
print("locked", flush=True)
sys.stdin.readline()
write(Run(None), folder, Status.OOM, "by the other process")
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        said = []

        def note(text: str) -> None:
            said.append(text)
            if "waiting" in text:
                other.stdin.write("go on\n")
                other.stdin.flush()

        monkeypatch.setattr(view, "note", note)
        (record,) = go([run], "ok")
    assert record.reason == "by the other process"
    assert f"waiting: {run.run_id()} is being done by process {other.pid}" in said
    assert _order(run) == []


def test_the_parent_imports_no_torch():
    code = "import sys, bench.launch, bench.launch.view; print({'torch', 'numpy', 'transformers'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_no_child_is_left(go, make_run):
    go([make_run("lora")], "ok")
    assert multiprocessing.active_children() == []

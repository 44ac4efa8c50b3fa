"""Which runs are due, in which order, and that two sweeps do not do the same run at once."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.launch import launch
from bench.launch.locks import Lock, holder
from bench.launch.progress import Progress
from bench.launch.queue import ResultsError, jobs
from bench.launch.sweep import folder_of, with_bases
from bench.records import store
from bench.records.attempt import Attempt
from bench.records.schema import SCHEMA_VERSION, Status
from bench.status import main as status

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


def test_a_damaged_record_is_kept_out_of_the_way(go, make_run, view):
    run = make_run()
    go([run], "ok")
    (folder_of(run) / store.RECORD).write_text("{")
    go([run], "ok")
    go([run], "ok")
    aside = folder_of(run).parent / ".damaged" / f"{run.run_id()}-1"
    assert (aside / store.RECORD).read_text() == "{"
    assert f"it is now in {aside}" in view.text.getvalue()
    assert [record.run_id for record in store.load([Path(run.results)])[0]] == [run.run_id()]


def test_a_record_of_another_run_is_named_and_kept_out_of_the_way(go, make_run, view):
    run, other = make_run(), make_run("lora")
    go([other], "ok")
    shutil.copytree(folder_of(other), folder_of(run), dirs_exist_ok=True)
    assert go([run], "ok")[0].run_id == run.run_id()
    assert f"is the record of another run, {other.run_id()}" in view.text.getvalue()


def test_a_record_of_a_newer_version_is_left_alone(go, make_run, view):
    runs = [make_run("lora"), make_run("prompt")]
    go(runs, "ok")
    path = folder_of(runs[0]) / store.RECORD
    newer = path.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99')
    path.write_text(newer)
    assert [record.method for record in go(runs, "raises")] == ["base", "prompt"]
    assert path.read_text() == newer
    said = f"left alone: {path}: has schema version 99; this tunebench reads up to {SCHEMA_VERSION}"
    assert said in view.text.getvalue()


def test_a_record_that_is_cut_anywhere_is_noticed_and_done_again(go, make_run):
    run = make_run()
    go([run], "ok")
    path = folder_of(run) / store.RECORD
    whole = path.read_bytes()
    for length in range(len(whole.rstrip())):
        path.write_bytes(whole[:length])
        with pytest.raises(store.DamagedRecord):
            store.read(path)
    for length in (0, 1, len(whole) // 2, len(whole.rstrip()) - 1):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(whole[:length])
        assert go([run], "ok")[0].status is Status.OK
        assert store.read(path).status is Status.OK


RACER = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from bench.config import Launch, Run
from bench.launch import launch
from bench.launch.view import View
from bench.method import get
runs = [
    Run(get("lora")(), seed=seed, results={results!r}, launch=Launch(per_device=2)) for seed in range(50)
]
if __name__ == "__main__":
    records = launch(runs[::{step}], View(sys.stderr), worker="fake_workers:ok", preload="fake_workers")
    print(len(records), {{record.status for record in records}})
"""


def test_two_launchers_race_on_fifty_runs(make_run, tmp_path):
    """From either end, on one folder: each run is done once, and both come back with all records."""
    racers = []
    for step in (1, -1):
        script = tmp_path / f"racer{step}.py"
        script.write_text(RACER.format(root=str(ROOT), here=str(HERE), results=str(tmp_path), step=step))
        racers.append(subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True))
    assert [racer.communicate(timeout=120)[0] for racer in racers] == ["51 {<Status.OK: 'ok'>}\n"] * 2
    order = (folder_of(make_run()).parent / "order.txt").read_text().splitlines()
    assert len(order) == len(set(order)) == 51
    assert len(store.load([tmp_path])[0]) == 51


def test_the_lock_of_a_run_is_held_until_its_child_is_gone(go, make_run, view):
    run = make_run()
    job = jobs([run])[0]
    held = []
    view.react = lambda: held.append(Lock.take(job.lock))
    go([run], "ok")
    assert held == [None]
    lock = Lock.take(job.lock)
    assert lock is not None
    lock.release()


def test_a_lock_whose_file_was_removed_is_taken_anew(tmp_path):
    first = Lock.take(tmp_path / "a" / "x.lock")
    (tmp_path / "a" / "x.lock").unlink()
    second = Lock.take(tmp_path / "a" / "x.lock")
    assert second is not None
    assert Lock.take(tmp_path / "a" / "x.lock") is None
    assert holder(tmp_path / "a" / "x.lock") == f"process {os.getpid()}"
    first.release()
    second.release()


def test_status_shows_a_running_sweep_and_one_that_was_killed(go, make_run, view, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tunebench", "sweep", "method=lora"])
    monkeypatch.setattr("bench.launch.status.INTERVAL", 0.0)
    seen = []

    def look() -> None:
        status([str(tmp_path)])
        seen.append(capsys.readouterr().out)

    monkeypatch.setattr(view, "show", lambda progress: look())
    run = make_run()
    go([run], "ok")
    assert any("tunebench sweep method=lora\n0 of 1 done, 1 running, 0 queued\n" in text for text in seen)
    status([str(tmp_path)])
    assert capsys.readouterr().out.startswith("no sweep runs on ")

    left = folder_of(run).parent / ".sweeps" / "host-1.json"
    progress = Progress("tunebench sweep", total=40, before=2, ended={"ok": 10})
    left.write_text(json.dumps(asdict(progress) | {"now": 0.0}))
    status([str(tmp_path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["alive"], told["queued"], told["ended"]) == (False, 30, {"ok": 10})
    status([str(tmp_path)])
    assert "ended without a word, 12 of 42 done; type the command again" in capsys.readouterr().out
    go([make_run("lora")], "ok")
    assert not left.exists()


def test_a_base_run_that_cannot_be_measured_does_not_keep_the_others_from_running(go, make_run):
    records = go([make_run("lora")], "raises_for_base")
    assert [record.status for record in records] == [Status.CRASHED, Status.OK]


def test_nothing_is_asked_of_devices_when_all_is_done(go, make_run, monkeypatch):
    go([make_run()], "ok")
    monkeypatch.setattr("bench.launch.sweep.Devices", None)
    assert len(go([make_run()], "ok")) == 1


def test_what_is_put_aside_takes_a_free_name(go, make_run, view):
    run = make_run()
    go([run], "ok")
    path = folder_of(run) / store.RECORD
    (path.parent.parent / ".damaged" / f"{run.run_id()}-2" / "x").mkdir(parents=True)
    for _ in range(2):
        path.write_text("{")
        assert go([run], "ok")[0].status is Status.OK
    kept = sorted(each.name.removeprefix(run.run_id()) for each in (path.parent.parent / ".damaged").iterdir())
    assert kept == ["-1", "-2", "-3"]


def test_a_damaged_record_that_cannot_be_moved_stops_its_run_alone(go, make_run, monkeypatch):
    runs = [make_run("lora"), make_run("prompt")]
    go(runs, "ok")
    (folder_of(runs[0]) / store.RECORD).write_text("{")

    def refuse(job):
        raise OSError(30, "Read-only file system", str(job.folder))

    monkeypatch.setattr("bench.launch.sweep.put_aside", refuse)
    records = go([*runs, make_run("lora", seed=1)], "ok")
    assert [record.status for record in records] == [Status.OK, Status.FAILED, Status.OK, Status.OK]
    assert (folder_of(runs[0]) / store.RECORD).read_text() == "{"


def test_results_that_cannot_be_made_are_said_once(make_run, view):
    run = replace(make_run("lora"), results="/dev/null/results")
    with pytest.raises(ResultsError, match=r"^results=/dev/null/results cannot be made: Not a directory: /dev/null"):
        launch([run], view)
    assert view.text.getvalue() == ""


def test_status_only_reads(tmp_path, capsys):
    folder = tmp_path / "runs" / "cpu" / ".sweeps"
    folder.mkdir(parents=True)
    (folder / "host-1.json").write_text(json.dumps(asdict(Progress("tunebench sweep", total=1)) | {"now": 0.0}))
    before = sorted(folder.iterdir())
    status([f"results={tmp_path}"])
    assert "ended without a word" in capsys.readouterr().out
    assert sorted(folder.iterdir()) == before


def test_a_sweep_starts_no_more_runs_when_its_hours_are_over(go, make_run, view):
    limit = {"within": 1.0 / 3600}
    runs = [make_run("lora", seed=seed, **limit) for seed in range(3)]
    found = go(runs, "takes_two_seconds")  # of the base run, at which the limit is over
    assert [record.run_id for record in found] == [runs[0].base().run_id()]
    assert found[0].status is Status.OK
    assert view.left == 3
    said = "launch.within=0.000277778 hours are over and 3 runs are not started; the same command starts what is left"
    assert said in view.text.getvalue().splitlines()


def test_what_was_left_is_done_by_the_same_sweep_again(go, make_run, view):
    runs = [make_run("lora", within=1.0 / 3600), make_run("prompt", within=1.0 / 3600)]
    go(runs, "takes_two_seconds")
    found = go([make_run("lora", within=1.0), make_run("prompt", within=1.0)], "ok")
    assert [record.status for record in found] == [Status.OK] * 3
    assert _order(runs[0]) == [run.run_id() for run in runs]  # the base run was not done again

"""What the terminal shows, and that nothing but plain lines goes anywhere else."""

import io
import re
import time

import pytest

from bench.launch.live import LiveView, heading, render
from bench.launch.progress import Progress, Row
from bench.launch.running import unreached
from bench.launch.view import View, duration, open_view, outcome
from bench.records.schema import Evaluation, Metric, Scores, Status

STEP = {
    "event": "step",
    "step": 120,
    "steps": 200,
    "loss": 1.234,
    "seconds": 9.0,
    "tokens_per_s": 5100.4,
    "budget": 0.6,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _record(run, status, reason=None):
    record = unreached(run, status, reason)
    if status is Status.OK:
        record.evaluation = Evaluation(Scores(4, 0.5534, {"accuracy": Metric(0.482, 1, True)}))
    return record


def _show(view: View, runs) -> None:
    progress = Progress(total=2, before=7)
    with view.sweep(progress):
        for run, status, reason in ((runs[0], Status.OK, None), (runs[1], Status.CRASHED, "killed by SIGSEGV\nmore")):
            view.start(run)
            row = Row(run.run_id(), time.monotonic())
            row.take({"event": "phase", "name": "train"})
            row.take(STEP)
            progress.rows = [row]
            view.show(progress)
            progress.rows, progress.ended[status] = [], 1
            progress.seconds.append(30.0)
            view.end(_record(run, status, reason), 30.0, progress)


def test_plain_lines_where_there_is_no_terminal(make_run):
    runs = [make_run("lora"), make_run("prompt", seed=1)]
    stream = io.StringIO()
    _show(open_view(stream), runs)
    assert stream.getvalue().splitlines() == [
        "7 runs are done already",
        f"{runs[0].run_id()}  started",
        f"1/2 {runs[0].run_id()}  ok  validation loss 0.553, accuracy 0.482  0:30, about 0:30 left",
        f"{runs[1].run_id()}  started",
        f"2/2 {runs[1].run_id()}  crashed: killed by SIGSEGV  0:30",
    ]


def test_a_terminal_has_a_live_part_and_lasting_lines(make_run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("TERM", "xterm")
    runs = [make_run("lora"), make_run("prompt", seed=1)]
    stream = Terminal()
    view = open_view(stream)
    assert isinstance(view, LiveView)
    _show(view, runs)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "7 of 9 done, 1 running, 1 queued" in plain
    assert re.search(r"lora-tiny-llama-pydoc-s0-\w{8}  train 120/200  \S+ +loss 1.23  5,100 tokens/s", plain)
    assert f"1/2 {runs[0].run_id()}  ok  validation loss 0.553, accuracy 0.482  0:30, about 0:30 left\n" in plain
    assert "started" not in plain


def _drawn(progress: Progress, width: int) -> list[str]:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(render(progress, width))
    return console.file.getvalue().splitlines()


def _busy() -> Progress:
    long = Row("prefix-a-model-with-a-rather-long-name-summaries-s11-0123abcd", time.monotonic(), seconds=75.0)
    long.take({"event": "phase", "name": "train"})
    long.take({"event": "prediction", "memory_bytes": 15 << 30})
    long.take(STEP | {"memory_bytes": 14 << 30})
    short = Row("lora-tiny-llama-pydoc-s0-0123abcd", time.monotonic(), seconds=3.0, host_bytes=600 << 20)
    return Progress(
        total=40, before=3, ended={"ok": 10, "oom": 1, "crashed": 1}, rows=[long, short], seconds=[60.0] * 12
    )


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_line_fits_the_terminal(width):
    lines = _drawn(_busy(), width)
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)
    assert ("14 GiB of ~15 GiB" if width > 110 else "14 GiB") in lines[1]
    assert "5,100 tok" in lines[1]
    assert "train 120/200" in lines[1]
    assert "starting" in lines[2]
    assert "600 MiB" in lines[2]


def test_the_sweep_in_a_line():
    assert heading(_busy()).startswith("15 of 43 done, 2 of them failed, 2 running, 26 queued, about ")
    waiting = Progress(total=1, waiting_for="the CPU is in use")
    assert heading(waiting) == "0 of 1 done, 0 running, 1 queued, waiting: the CPU is in use"


def test_the_steps_of_a_budget_in_seconds_have_no_known_end():
    row = Row("x", time.monotonic())
    row.take({"event": "phase", "name": "train"})
    row.take(STEP | {"steps": None, "loss": float("nan")})
    assert (row.step, row.steps, row.share) == (120, None, 0.6)
    (_, line) = _drawn(Progress(total=1, rows=[row]), 120)
    assert "train 120 " in line
    assert "loss nan" in line


def test_evaluation_is_told_by_split():
    row = Row("x", time.monotonic())
    row.take({"event": "phase", "name": "evaluate"})
    row.take({"event": "evaluate", "done": 3, "of": 4, "split": "test"})
    assert (row.phase, row.step, row.steps, row.share) == ("evaluate test", 3, 4, 0.75)


def test_a_failure_is_told_with_its_phase(make_run):
    record = _record(make_run(), Status.OOM, "CUDA out of memory")
    record.failed_phase = "train"
    assert outcome(record) == "oom in train: CUDA out of memory"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (12, "0:12"), (599.6, "10:00"), (3723, "1:02:03")])
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_a_long_name_keeps_its_end_which_tells_runs_apart():
    (_, line, _) = _drawn(_busy(), 80)
    assert line.startswith("prefix-…-s11-0123abcd"[:7])
    assert "-0123abcd" in line


def test_the_time_left_of_a_continued_run_does_not_count_what_was_done_before(monkeypatch):
    row = Row("x", 0.0)
    clock = iter([100.0, 110.0])
    monkeypatch.setattr("bench.launch.progress.time.monotonic", lambda: next(clock))
    row.take({"event": "phase", "name": "train"})
    row.take(STEP | {"budget": 0.8})
    assert row.left_s is None
    row.take(STEP | {"budget": 0.85})
    assert row.left_s == pytest.approx(30.0)


def test_a_view_whose_reader_has_gone_is_silent(make_run):
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    _show(View(Gone()), [make_run("lora"), make_run("prompt")])


def test_the_time_left_counts_what_runs_at_once():
    now = time.monotonic()
    progress = Progress(total=6, ended={"ok": 2}, seconds=[60.0, 120.0], rows=[Row("a", now - 30), Row("b", now - 200)])
    assert progress.queued == 2
    assert progress.left_s() == pytest.approx((2 * 90 + 60 + 0) / 2, abs=1)
    assert Progress(total=3).left_s() is None

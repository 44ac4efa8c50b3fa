"""What the terminal shows, and that nothing but plain lines goes anywhere else."""

import io
import re

import pytest

from bench.launch.supervise import unreached
from bench.launch.view import LiveView, View, doing, duration, open_view, outcome
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
    record = unreached(run, status, reason, "2026-01-01T00:00:00+00:00")
    if status is Status.OK:
        record.evaluation = Evaluation(Scores(4, 0.5534, {"accuracy": Metric(0.482, 1, True)}))
    return record


def _show(view: View, runs) -> None:
    with view.sweep(total=2, done=7):
        view.start(runs[0])
        view.event({"event": "phase", "name": "load"})
        view.event(STEP)
        view.event({"event": "evaluate", "done": 3, "of": 4, "split": "test"})
        view.end(_record(runs[0], Status.OK))
        view.start(runs[1])
        view.end(_record(runs[1], Status.CRASHED, "killed by SIGSEGV\nand more"))


def test_plain_lines_where_there_is_no_terminal(make_run):
    runs = [make_run("lora"), make_run("prompt", seed=1)]
    stream = io.StringIO()
    _show(open_view(stream), runs)
    assert stream.getvalue().splitlines() == [
        "7 runs are done already",
        "1/2 lora-tiny-llama-pydoc-s0  started",
        f"1/2 {runs[0].run_id()}  ok  validation loss 0.553, accuracy 0.482  0:00, about 0:00 left",
        "2/2 prompt-tiny-llama-pydoc-s1  started",
        f"2/2 {runs[1].run_id()}  crashed: killed by SIGSEGV  0:00",
    ]


def test_a_terminal_has_a_live_line_and_the_same_lasting_ones(make_run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("TERM", "xterm")
    runs = [make_run("lora"), make_run("prompt", seed=1)]
    stream = Terminal()
    view = open_view(stream)
    assert isinstance(view, LiveView)
    with view.sweep(total=2, done=0):
        view.start(runs[0])
        view.event(STEP)
        view._progress.refresh()
        view.end(_record(runs[0], Status.OK))
        view._progress.refresh()
        shown = stream.getvalue()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "1/2 lora-tiny-llama-pydoc-s0 train 120/200  loss 1.23  5,100 tokens/s" in plain
    assert f"1/2 {runs[0].run_id()}  ok  validation loss 0.553, accuracy 0.482  0:00, about 0:00 left\n" in plain


def test_steps_without_a_known_end():
    assert doing(STEP | {"steps": None}) == "train 120  loss 1.23  5,100 tokens/s"
    assert doing(STEP | {"loss": float("nan")}) == "train 120/200  loss nan  5,100 tokens/s"


def test_a_failure_is_told_with_its_phase(make_run):
    record = _record(make_run(), Status.OOM, "CUDA out of memory")
    record.failed_phase = "train"
    assert outcome(record) == "oom in train: CUDA out of memory"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (12, "0:12"), (599.6, "10:00"), (3723, "1:02:03")])
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_the_time_left_is_that_of_the_runs_before(make_run, monkeypatch):
    now = iter([0.0, 30.0, 30.0, 120.0])
    monkeypatch.setattr("bench.launch.view.time.monotonic", lambda: next(now))
    stream = io.StringIO()
    view = View(stream)
    with view.sweep(total=4, done=1):
        for seed in range(2):
            run = make_run(seed=seed)
            view.start(run)
            view.end(_record(run, Status.OK))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "1 run is done already"
    assert lines[2].endswith("0:30, about 1:30 left")
    assert lines[4].endswith("1:30, about 2:00 left")

"""Stages as one experiment: planned together, done in order, and told from each other by what came before."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.app import UserError, plan
from bench.config import Run, to_dict
from bench.launch import launch
from bench.launch.queue import folder_of, jobs, settled, with_bases
from bench.launch.running import unreached
from bench.launch.view import View
from bench.records import store
from bench.records.schema import Record, Status
from bench.reproduce import CannotRun, again


def planned(*overrides: str) -> Run:
    (run,) = plan("run", overrides)
    return run


def left(run: Run, status: Status = Status.OK, weights: bool = True) -> Path:
    """What a run leaves, without the run."""
    folder = folder_of(run)
    store.write(unreached(run, status, "" if status is Status.OK else "why"), folder)
    if weights:
        (folder / store.WEIGHTS).mkdir()
        (folder / store.WEIGHTS / "adapter_model.safetensors").touch()
    return folder


def test_a_variant_names_the_method_before_and_all_else_is_as_in_the_run():
    run = planned("method=dpo-after-lora", "task=arithmetic", "seed=3", "budget=smoke")
    first = planned("method=lora", "task=arithmetic", "seed=3", "budget=smoke")
    assert run.title() == "dpo-after-lora"
    assert run.start is not None
    assert run.start.run_id() == first.run_id()
    assert run.stage_before() == run.start
    assert run.start.launch == replace(first.launch, keep_adapter=True, keep_model=True)


def test_a_stage_may_be_described_by_overrides():
    words = 'method.start_from="method=qlora method.rank=4 task=arithmetic budget.steps=7 budget.name=seven"'
    run = planned("method=dpo", "method/adapter=qlora", words, "task=pydoc", "train.batch_size=8")
    assert run.start is not None
    assert run.start.run_id() == planned(
        "method=qlora", "method.rank=4", "task=arithmetic", "budget.steps=7", "budget.name=seven", "train.batch_size=8"
    ).run_id()  # fmt: skip
    assert (run.task.name, run.budget.steps, run.title()) == ("pydoc", 100, "dpo-qlora-after-qlora")
    assert not run.goes_on()  # of another rank


def test_there_may_be_three_stages():
    run = planned("method=dpo", "method.start_from=dpo-after-lora", "method.beta=0.2")
    assert run.title() == "dpo-after-dpo-after-lora"
    assert [each.title() for each in with_bases([run])] == ["base", "lora", "dpo-after-lora", run.title()]


def test_the_experiment_shares_the_first_stage_and_does_it_before():
    runs = plan("sweep", ["experiment=sft_then_dpo", "seed=0,1"])
    assert [run.title() for run in runs].count("dpo-after-lora") == 2
    order = [(job.run.title(), job.run.seed) for job in jobs(runs)]
    assert len(order) == 7
    for seed in (0, 1):
        assert order.index(("lora", seed)) < order.index(("dpo-after-lora", seed))
    by_title = {(job.run.title(), job.run.seed): job for job in jobs(runs)}
    assert by_title["dpo-after-lora", 1].start is not None
    assert by_title["dpo-after-lora", 1].start.run_id == by_title["lora", 1].run_id
    assert by_title["lora", 1].needed
    assert len({run.group() for run in runs}) == 3


def test_a_stage_keeps_the_weights_that_the_same_run_by_itself_does_not():
    runs = [planned("method=full"), planned("method=dpo", "method.start_from=full"), planned("method=full")]
    assert not runs[0].launch.keep_model
    found = [run for run in with_bases(runs) if run.title() == "full"]
    assert [run.launch.keep_model for run in found] == [True]


def test_a_finished_run_may_be_named(tmp_path: Path):
    results = f"results={tmp_path}"
    first = planned("method=lora", results)
    folder = left(first)
    for name in (first.run_id(), "lora-tiny", str(folder)):
        run = planned("method=dpo", f"method.start_from={name}", results)
        assert run.run_id() == planned("method=dpo-after-lora", results).run_id()
        assert run.stage_before() is None
        assert run.start_folder(tmp_path / "other" / "folder") == folder
        assert [each.title() for each in with_bases([run])] == ["base", run.title()]


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("loar", "method.start_from: there is no file or folder 'loar', and no run of that id below "),
        ('"method=loar"', "method.start_from: method: there is no 'loar'; did you mean 'lora'?"),
        ('"task=pydoc"', "method.start_from: the overrides of a stage must name its method, as in method=NAME"),
        ('"method=lora method.rnk=3"', "method.start_from: there is no key 'method.rnk'; did you mean 'method.rank'?"),
        ('"method=lora method.rank=0"', "method.rank must be >= 1, got 0"),
        (
            "prompt",
            "method.start_from: prompt cannot be merged into the base, and lora cannot go on with what prompt tr",
        ),
        ('"method=lora model=gpt2"', "method.start_from: lora trained another model: model.path is 'openai-community/"),
        ('"method=dpo method.start_from=x"', "method.start_from: method.start_from: there is no file or folder 'x'"),
    ],
)
def test_a_start_that_cannot_be_is_refused_before_anything_starts(start: str, words: str):
    with pytest.raises(UserError) as raised:
        plan("run", ["method=dpo", f"method.start_from={start}"])
    assert words in str(raised.value)


def test_a_run_that_is_unfinished_or_keeps_no_weights_is_refused(tmp_path: Path):
    results = f"results={tmp_path}"
    failed, bare = planned("method=lora", results), planned("method=lora", "seed=1", results)
    left(failed, Status.DIVERGED)
    left(bare, weights=False)
    base = left(failed.base(), weights=False)
    for run, words in (
        (failed.run_id(), "ended as diverged (why)"),
        (bare.run_id(), "has no weights: launch.keep_adapter was false, or they were removed"),
        (base.name, "is the untouched base model: nothing was trained"),
    ):
        with pytest.raises(UserError, match=f"method.start_from: {run} ") as raised:
            planned("method=dpo", f"method.start_from={run}", results)
        assert words in str(raised.value)


def test_a_stage_whose_weights_are_gone_is_done_again(tmp_path: Path):
    run = planned("method=dpo-after-lora", f"results={tmp_path}")
    first = next(job for job in jobs([run]) if job.needed)
    left(first.run, weights=False)
    assert settled(first) is None
    assert settled(replace(first, needed=False)) is not None
    (first.folder / store.WEIGHTS).mkdir()
    (first.folder / store.WEIGHTS / "adapter_model.safetensors").touch()
    assert settled(first) is not None


def test_the_launcher_does_a_stage_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).parent / "launch")
    run = planned("method=dpo-after-lora", f"results={tmp_path}", "launch.start=spawn", "launch.per_device=3")
    records = launch([run], View(open("/dev/null", "w")), worker="fake_workers:ok", preload="fake_workers")  # noqa: SIM115
    assert [record.method for record in records] == ["base", "lora", "dpo-after-lora"]
    order = (folder_of(run).parent / "order.txt").read_text().split()
    assert order.index(records[1].run_id) < order.index(records[2].run_id)
    assert records[2].config["start"]["method"]["name"] == "lora"


@pytest.fixture
def record(tmp_path: Path) -> Callable[[Run], Record]:
    return lambda run: replace(unreached(run, Status.OK, ""), config=to_dict(run))


def test_a_reproduction_does_both_stages_again(record: Callable[[Run], Record], tmp_path: Path):
    run = planned("method=dpo-after-lora", f"results={tmp_path / 'first'}")
    repeated, _ = again(record(run), tmp_path / "again")
    assert repeated.run_id() == run.run_id()
    assert {each.results for each in with_bases([repeated])} == {str(tmp_path / "again")}
    assert len(with_bases([repeated])) == 3


def test_a_reproduction_needs_the_run_that_was_named(record: Callable[[Run], Record], tmp_path: Path):
    results = f"results={tmp_path}"
    folder = left(planned("method=lora", results))
    run = planned("method=dpo", f"method.start_from={folder}", results)
    assert again(record(run), tmp_path / "again")[0].start_folder(tmp_path) == folder
    (folder / store.WEIGHTS / "adapter_model.safetensors").unlink()
    with pytest.raises(CannotRun, match=r"method.start_from: lora-.* has no weights"):
        again(record(run), tmp_path / "again")

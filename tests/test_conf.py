"""The configuration: every file composes to a checked run, says what it is, and is true of what it names."""

import functools
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tokenizers import Tokenizer

from bench import listing
from bench.app import UserError, plan
from bench.config import Run
from bench.data import tasks
from bench.method import discover
from bench.models.locate import resolve
from bench.paths import conf_dir

LAUNCHERS = sorted(conf_dir().glob("hydra/launcher/*.yaml"))
FILES = sorted({*conf_dir().glob("*/**/*.yaml")} - {*LAUNCHERS})


def _name(file: Path) -> str:
    """The override that chooses it: `task=peftbench/rte` for conf/task/peftbench/rte.yaml."""
    group, _, choice = file.relative_to(conf_dir()).with_suffix("").as_posix().partition("/")
    return f"{group}={choice}"


CHOICES = [file for file in FILES if not _name(file).startswith("experiment=")]
EXPERIMENTS = [file for file in FILES if _name(file).startswith("experiment=")]
OFFLINE_TASKS = [
    _name(f).removeprefix("task=")
    for f in FILES
    if _name(f).startswith("task=") and OmegaConf.load(f)["source"] not in ("hub", "file")
]
ROWS = Path(__file__).parent / "data" / "tasks" / "rows" / "alpaca" / "train.jsonl"
NEEDED = {"model=hub": ["model.path=owner/name"], "task=file": [f"data.train={ROWS}"]}  # what is left to the user


def _run(*overrides: str) -> Run:
    (run,) = plan("run", overrides)
    return run


@pytest.mark.parametrize("file", CHOICES, ids=_name)
def test_a_choice_composes_to_a_run_that_carries_its_name(file: Path):
    run = _run(_name(file), *NEEDED.get(_name(file), []))
    group, _, choice = _name(file).partition("=")
    part = getattr(run, group)
    if group == "method":
        assert run.title() == choice
    elif group == "hardware":
        assert part.device == choice
    else:
        assert part.name == choice.replace("/", "-")


@pytest.mark.parametrize("file", CHOICES + LAUNCHERS, ids=_name)
def test_a_choice_says_in_its_first_line_what_it_is(file: Path):
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 10


@pytest.mark.parametrize("typed", ["peftbench/mnly", "mnli"])
def test_a_mistyped_choice_in_a_folder_is_told_the_right_one(typed: str):
    with pytest.raises(UserError) as caught:
        plan("run", [f"task={typed}"])
    assert str(caught.value) == f"task: there is no {typed!r}; did you mean 'peftbench/mnli'?"


def test_choices_in_a_folder_can_be_swept():
    runs = plan("sweep", ["task=peftbench/rte,peftbench/cb,gsm8k", "method=lora"])
    assert [run.task.name for run in runs] == ["peftbench-rte", "peftbench-cb", "gsm8k"]
    assert all("/" not in run.run_id() for run in runs)


@functools.cache
def _planned(*overrides: str) -> list[Run]:
    """The runs of a sweep; many compositions take a while."""
    return plan("sweep", overrides)


def test_the_experiments_have_the_runs_that_are_expected_of_them():
    others = [file for file in EXPERIMENTS if not file.stem.startswith("gpu_")]  # which have tests of their own
    found = {file.stem: len(_planned(_name(file))) for file in others}
    assert found == {
        "all_methods": found["all_methods"],  # a test of its own counts them
        "learning_rates": 4 * 4,
        "learning_rates_prompts": 3 * 4,
        "seeds": 7 * 3,
        "sft_then_dpo": 3,
    }


LONG = [pytest.param(f, marks=pytest.mark.slow) if f.stem == "gpu_reference" else f for f in EXPERIMENTS]  # 192 runs


@pytest.mark.parametrize("file", LONG, ids=_name)
def test_the_command_at_the_head_of_an_experiment_plans_its_runs(file: Path):
    package, command, *_ = file.read_text(encoding="utf-8").splitlines()
    assert package == "# @package _global_"
    program, verb, *overrides = shlex.split(command.removeprefix("# "))
    assert (program, verb, overrides[0]) == ("tunebench", "sweep", _name(file))
    assert all(override.startswith("launch.") for override in overrides[1:])  # which change nothing of the runs
    _run(*overrides)
    runs = _planned(overrides[0])
    assert {run.method.name for run in runs} <= _built_in()
    assert len({run.run_id() for run in runs}) == len(runs) > 0


def _built_in() -> set[str]:
    return {name for name, cls in discover().items() if cls.__module__.startswith("methods.")}


SEVEN = ["full", "lora", "qlora", "prefix", "prompt", "ptuning", "dpo"]


def test_the_default_sweep_is_the_main_comparison():
    runs = plan("sweep", [])
    assert [run.title() for run in runs] == SEVEN
    assert {(run.model.name, run.task.name, run.budget.name) for run in runs} == {("tiny-llama", "pydoc", "short")}


def test_the_learning_rate_searches_give_every_method_as_many_trials_and_never_look_at_the_test_split():
    runs = plan("sweep", ["experiment=learning_rates"]) + plan("sweep", ["experiment=learning_rates_prompts"])
    assert not any(run.measure.test for run in runs)
    rates = {name: [r.method.learning_rate for r in runs if r.title() == name] for name in SEVEN}
    assert {len(set(tried)) for tried in rates.values()} == {4}
    for name, tried in rates.items():  # the default was found among them, or lies between them
        assert min(tried) <= discover()[name]().learning_rate <= max(tried)


@pytest.mark.parametrize("name", OFFLINE_TASKS)
def test_a_task_s_kind_and_preferences_are_those_of_its_data(name: str):
    task = _run(f"task={name}").task
    data = tasks.load(task)
    examples = data.train + data.validation + data.test
    assert task.preferences == all(e.rejected is not None for e in examples)
    assert (task.kind == "classification") == bool(data.choices)
    assert (task.kind == "text") == all(e.prompt == "" for e in examples)


@pytest.mark.parametrize("name", OFFLINE_TASKS)
def test_no_prompt_of_an_offline_task_is_cut_for_the_embedded_model(name: str):
    run = _run(f"task={name}")
    tokenizer = Tokenizer.from_file(f"{resolve(run.model.path)}/tokenizer.json")
    data = tasks.load(run.task)
    longest = 0
    for example in data.train + data.validation + data.test:
        for answer in filter(None, (example.completion, example.rejected)):
            longest = max(longest, len(tokenizer.encode(example.prompt + answer).ids) + 1)  # + the end of text
    assert longest <= run.task.max_length


def test_all_methods_are_in_the_sweep_of_all_methods():
    runs = _planned("experiment=all_methods")
    variants = [run.method for name, _ in listing.named("method") for run in [_run(f"method={name}")]]
    methods = [*(cls() for cls in discover().values()), *variants]
    assert sorted(run.title() for run in runs) == sorted(
        method.title() for method in methods if method is not None and method.objective == "sft"
    ), "conf/experiment/all_methods.yaml lacks a method, or names one that there is not"

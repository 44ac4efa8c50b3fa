"""The command as its users type it: what it answers, what it refuses and in which words, and real small sweeps."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from bench import __version__, listing
from bench.__main__ import USAGE, main
from bench.advise.cards import listed as cards_listed
from bench.app import UserError, plan
from bench.method import discover
from bench.paths import conf_dir

Done = subprocess.CompletedProcess[str]
Type = Callable[..., Done]
TUNEBENCH = [sys.executable, "-m", "bench"]
PYTHONPATH = str(Path(__file__).resolve().parents[1])
SMALL = (
    "task=arithmetic", "task.train_examples=16", "task.validation_examples=4", "task.test_examples=3", "budget.steps=2",
    "train.batch_size=4", "train.precision=float32", "task.max_new_tokens=2", "measure.forgetting=false",
    "launch.predict=false",
)  # fmt: skip


def typed(folder: Path, *words: str) -> Done:
    environment = os.environ | {"PYTHONPATH": PYTHONPATH, "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run([*TUNEBENCH, *words], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def type_(tmp_path: Path) -> Type:
    """Runs `tunebench` with these words in an empty folder."""
    return lambda *words: typed(tmp_path, *words)


METHODS = ", ".join(sorted([*discover(), *(name for name, _ in listing.named("method"))]))
KNOWN = (
    "advise, calibrate, chat, check, compare, data, export, hardware, import, methods, models, new-method, report, "
    "reproduce, run, serve, status, sweep, table, tasks"
)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run method=loar", "method: there is no 'loar'; did you mean 'lora'?"),
        ("run method.rank_=4", "there is no key 'method.rank_'; did you mean 'method.rank'?"),
        ("run +train.bogus=1", "there is no key 'train.bogus'; did you mean 'train.loss'?"),
        ("run task=nope", "task: there is no 'nope'; `tunebench tasks` lists what there is"),
        (
            "run method=dpo task=wikitext",
            "method=dpo learns from preferences, and task=wikitext has none; "
            "tasks with preferences are marked in `tunebench tasks`",
        ),
        ("run model.path=./nope", "model.path: there is no folder ./nope"),
        ("rnu", "there is no command 'rnu'; did you mean 'run'?"),
    ],
)
def test_what_cannot_be_run_is_one_message_and_exit_code_2(words: str, message: str, type_: Type, tmp_path: Path):
    done = type_(*words.split())
    assert (done.stderr, done.stdout, done.returncode) == (f"{message}\n", "", 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run method=zzz", "method: there is no 'zzz'; `tunebench methods` lists what there is"),
        ("run ++train.batchsize=1", "there is no key 'train.batchsize'; did you mean 'train.batch_size'?"),
        ("run model=hub", "model.path must be given: a folder, or ORG/NAME on the Hugging Face Hub"),
        ("run seed=x", "seed: Value 'x' of type 'str' could not be converted to Integer"),
        ("run ~seed", "seed cannot be deleted; every run has it"),
        (
            "run model=1 budget=2",
            "model: there is no '1'; `tunebench models` lists what there is\n"
            "budget: there is no '2'; there are: full, short, smoke",
        ),
        (
            "run budget=smoke budget.seconds=9 model.path=owner/name",
            "budget must set exactly one of steps, tokens, epochs, seconds and leave the others at 0, "
            "got steps=10, seconds=9",
        ),
        ("run hardware=gpu", "hardware: there is no 'gpu'; did you mean 'cpu'?"),
        ("run +experiment=seed", "experiment: there is no 'seed'; did you mean 'seeds'?"),
        ("run method=lora,prompt", "method=lora,prompt names several runs: use `tunebench sweep`"),
        (
            "run method=dpo method/adapter=dpo",
            "method/adapter: there is no 'dpo'; `tunebench methods` lists what there is",
        ),
        ("sweep method.rank_=1,2 method=lora", "there is no key 'method.rank_'; did you mean 'method.rank'?"),
        ("method=loar", "method: there is no 'loar'; did you mean 'lora'?"),
        ("-m model=hub", "model.path must be given: a folder, or ORG/NAME on the Hugging Face Hub"),
        ("zzz", f"there is no command 'zzz'; there are: {KNOWN}"),
    ],
)
def test_the_words_of_other_refusals(words: str, message: str, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tunebench", *words.split()])
    assert main() == 2
    assert tuple(capsys.readouterr()) == ("", f"{message}\n")


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (
            "run method=loar task=nope",
            [
                "method: there is no 'loar'; did you mean 'lora'?",
                "task: there is no 'nope'; `tunebench tasks` lists what there is",
            ],
        ),
        (
            "run method.rank_=4 +train.bogus=1 seed=x",
            [
                "there is no key 'method.rank_'; did you mean 'method.rank'?",
                "there is no key 'train.bogus'; did you mean 'train.loss'?",
                "seed: Value 'x' of type 'str' could not be converted to Integer",
            ],
        ),
        (
            "run method.rank=0 train.batch_size=0 seed=-1 model.path=./nope",
            [
                "method.rank must be >= 1, got 0",
                "train.batch_size must be >= 1, got 0",
                "seed must be >= 0, got -1",
                "model.path: there is no folder ./nope",
            ],
        ),
        (
            "sweep method=lora,loar,prompt model.path=./nope train.batch_size=1,0",
            [
                "model.path: there is no folder ./nope",
                "train.batch_size must be >= 1, got 0",
                "method: there is no 'loar'; did you mean 'lora'?",
            ],
        ),
    ],
)
def test_all_errors_come_at_once_and_none_twice(words: str, messages: list[str], type_: Type):
    done = type_(*words.split())
    assert (done.stderr.splitlines(), done.returncode) == (messages, 2)


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_help_comes_at_once(words: list[str], type_: Type):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = type_(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.stdout, done.stderr, done.returncode) == (USAGE, "", 0)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_version(type_: Type):
    assert type_("--version").stdout == f"tunebench {__version__}\n"


@pytest.mark.parametrize("words", ["run --cfg job method=qlora", "--cfg job method=qlora", "run -c job method=qlora"])
def test_the_configuration_is_shown_as_yaml(words: str, type_: Type):
    done = type_(*words.split())
    assert (done.stderr, done.returncode) == ("", 0)
    shown = OmegaConf.create(done.stdout)
    assert (shown.method.name, shown.method.rank, shown.task.name, shown.seed) == ("qlora", 8, "pydoc", 0)
    assert set(shown) == {
        "method", "model", "task", "data", "budget", "train", "measure", "hardware", "launch", "tracker", "seed",
        "results",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run method=null --cfg job", "method: there is no 'null'; did you mean 'full'?"),
        ("run --cfg job method=loar", "method: there is no 'loar'; did you mean 'lora'?"),
        ("-c job method=lora method.rnk=4", "there is no key 'method.rnk'; did you mean 'method.rank'?"),
    ],
)
def test_what_cannot_be_shown_is_said_as_without_the_flag(words: str, message: str, type_: Type):
    done = type_(*words.split())
    assert (done.stdout, done.stderr, done.returncode) == ("", f"{message}\n", 2)


@pytest.mark.parametrize("words", ["run --cfg hydra", "sweep --cfg hydra", "-m --cfg hydra"])
def test_hydra_s_own_configuration_is_shown(words: str, type_: Type):
    done = type_(*words.split())
    assert (done.stderr, done.returncode) == ("", 0)
    assert "full" in OmegaConf.create(done.stdout).hydra.sweeper.params.method


def test_a_group_s_adapter_can_be_chosen(type_: Type):
    shown = OmegaConf.create(type_("run", "method=dpo", "method/adapter=qlora", "--cfg", "job").stdout)
    assert (shown.method.name, shown.method.adapter.name, shown.method.adapter.data_type) == ("dpo", "qlora", "nf4")


def test_help_of_run_lists_groups_keys_and_examples(type_: Type):
    done = type_("run", "--help")
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.startswith("tunebench measures ways of fine-tuning a language model")
    assert f"method: {METHODS}\n" in done.stdout
    assert re.search(r"^task: .*\bpydoc, .*\bwikitext\b", done.stdout, re.MULTILINE)
    assert re.search(r"^task/peftbench: apps, .*\bwsc$", done.stdout, re.MULTILINE)
    assert "gradient_accumulation: 1\n" in done.stdout
    assert "tunebench sweep 'seed=range(3)'" in done.stdout


def test_a_flag_that_is_not_there_is_refused(type_: Type):
    done = type_("run", "--bogus")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "tunebench: error: unrecognized arguments: --bogus"


@pytest.mark.parametrize(
    ("command", "group"), [("methods", "method"), ("models", "model"), ("tasks", "task"), ("hardware", "hardware")]
)
def test_lists_name_every_choice_with_one_line_that_can_be_typed(command: str, group: str, type_: Type):
    done = type_(command)
    assert (done.stderr, done.returncode) == ("", 0)
    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    folder = conf_dir() / group
    files = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml")}
    methods = set(discover()) if group == "method" else set()
    cards = {f"--gpu={card.name}" for card in cards_listed()} if group == "hardware" else set()
    assert listed.keys() == {f"{group}={name}" for name in files | methods} | cards
    assert all(len(text) > 5 and not text.startswith("#") for text in listed.values())
    assert len({line.index(text) for line, text in zip(done.stdout.splitlines(), listed.values(), strict=True)}) == 1


def test_the_list_of_methods_says_what_each_does_and_its_learning_rate(type_: Type):
    lines = type_("methods").stdout.splitlines()
    for name, cls in discover().items():
        (line,) = [line for line in lines if line.startswith(f"method={name} ")]
        assert line.endswith(f"{cls.summary()} (learning rate {cls().learning_rate:g})")


def test_the_adapter_of_an_objective_can_be_chosen_and_set():
    (run,) = plan("run", ["method=dpo", "method/adapter=qlora", "method.adapter.rank=4", "model.path=owner/name"])
    assert (run.title(), run.method.adapter.name, run.method.adapter.rank) == ("dpo-qlora", "qlora", 4)


def test_a_sweep_is_the_product_of_its_choices_in_their_order():
    runs = plan("sweep", ["method=lora,qlora", "method.rank=2,4", "seed=range(2)", "model.path=owner/name"])
    assert [(run.method.name, run.method.rank, run.seed) for run in runs] == [
        (name, rank, seed) for name in ("lora", "qlora") for rank in (2, 4) for seed in (0, 1)
    ]


@pytest.fixture(scope="module")
def swept(tiny_llama: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...], Done]:
    """A small sweep of two methods: its folder, its overrides, and what the command said."""
    folder = tmp_path_factory.mktemp("swept")
    overrides = ("method=lora,prompt", f"model.path={tiny_llama}", "model.name=tiny", *SMALL)
    return folder, overrides, typed(folder, "sweep", *overrides)


def records(folder: Path) -> dict[str, dict[str, object]]:
    found = [json.loads(path.read_text()) for path in folder.glob("results/runs/*/*/record.json")]
    return {record["run_id"]: record for record in found}


def test_a_sweep_measures_the_base_and_every_method_and_ends_in_the_table(swept: tuple[Path, tuple[str, ...], Done]):
    folder, _, done = swept
    assert done.returncode == 0, done.stderr
    assert {(r["method"], r["status"]) for r in records(folder).values()} == {
        ("base", "ok"), ("lora", "ok"), ("prompt", "ok"),
    }  # fmt: skip
    table, _, rest = done.stdout.partition("\nRecords: ")
    assert [name for name in ("base", "lora", "prompt") if name in table] == ["base", "lora", "prompt"]
    (hardware,) = (path for path in (folder / "results" / "runs").iterdir() if path.is_dir())
    assert rest.splitlines()[0] == str(hardware)
    assert "tunebench table --help" in rest
    ended = [line for line in done.stderr.splitlines() if "  ok  validation loss " in line]
    assert [line.split()[0] for line in ended] == ["1/3", "2/3", "3/3"]
    assert {path.name for path in folder.iterdir()} == {"results"}


@pytest.mark.parametrize("command", [["sweep"], ["-m"]])
def test_typed_again_it_runs_nothing_and_shows_the_same_table(
    command: list[str], swept: tuple[Path, tuple[str, ...], Done]
):
    folder, overrides, first = swept
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("record.json")}
    again = typed(folder, *command, *overrides)
    assert (again.stdout, again.returncode) == (first.stdout, 0)
    assert again.stderr == "3 runs are done already\n"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("record.json")} == before


def test_a_failing_run_does_not_take_the_others_down(swept: tuple[Path, tuple[str, ...], Done]):
    folder, overrides, _ = swept
    done = typed(folder, "sweep", "method=lora", "method.learning_rate=1e20,1e-3", "train.warmup=0", *overrides[1:])
    assert done.returncode == 1, done.stderr
    found = {r["config"]["method"]["learning_rate"]: r for r in records(folder).values() if r["config"]["method"]}  # type: ignore[index]
    assert found[1e20]["status"] == "diverged"
    assert found[1e20]["reason"] == "the loss became nan at step 2"
    assert found[1e-3]["status"] == "ok"
    assert "diverged in train: the loss became nan at step 2" in done.stderr
    assert "diverged" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("argument", "quoted"),
    [
        ("data.train=my file (1).jsonl", """'data.train="my file (1).jsonl"'"""),
        ("data.train=a=b.jsonl", """'data.train="a=b.jsonl"'"""),
        ("task.prompt={{ question }}", """'task.prompt="{{ question }}"'"""),
        ('data.train=say "x" (2).jsonl', """'data.train="say \\"x\\" (2).jsonl"'"""),
    ],
)
def test_a_value_that_hydra_cannot_read_is_shown_quoted(argument, quoted):
    with pytest.raises(UserError) as caught:
        plan("run", ["task=file", argument])
    assert str(caught.value).startswith(f"{argument} cannot be read: ")
    assert str(caught.value).endswith(f"; if the value is meant as it stands, quote it: {quoted}")
    with pytest.raises(UserError) as caught:  # the quoted form is read, and only the file or the rest is missing
        plan("run", ["task=file", quoted.strip("'")])
    assert "cannot be read: " not in str(caught.value)


def test_a_wrong_choice_does_not_hide_what_is_wrong_elsewhere():
    with pytest.raises(UserError) as caught:
        plan("run", ["method=loar", "method.rnak=4", "task.kindd=x", "launch.devices=0", "seed=a"])
    assert str(caught.value).splitlines() == [
        "method: there is no 'loar'; did you mean 'lora'?",
        "there is no key 'task.kindd'; did you mean 'task.kind'?",
        "launch.devices is a list: launch.devices=[0]",
        "seed: Value 'a' of type 'str' could not be converted to Integer",
    ]

"""`tunebench table` as its users type it."""

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records import kept
from bench.records.schema import Environment, Record, Status
from bench.report import arguments, remember, table
from bench.report.cli import main
from bench.report.formats import FORMATS
from tests.benchmarks.synthetic import make_store

Make = Callable[..., Record]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def results(make: Make, store: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with a base, two seeds of LoRA, and full fine-tuning with another rank in its settings."""
    for record in (make("base"), make(seed=0), make(seed=1), make("sft", method__rank=4)):
        store(record)
    return tmp_path / "runs"


def test_the_terminal_is_the_default(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(results)]) == 0
    out, err = capsys.readouterr()
    assert "tiny-llama · pydoc · cpu-test-2 · short (300 steps)" in out
    assert all(name in out for name in ("base", "lora", "sft"))
    assert err == ""


def test_the_default_folder_is_results_runs(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (results.parent / "results").mkdir()
    results.rename(results.parent / "results" / "runs")
    monkeypatch.chdir(results.parent)
    assert main([]) == 0
    assert "lora" in capsys.readouterr().out


@pytest.mark.parametrize("roots", [[], ["results/runs"]])
def test_no_records_say_how_to_make_some(
    roots: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(roots) == 2
    expected = "tunebench table: no records in results/runs; `tunebench sweep` makes some, or name another folder\n"
    assert capsys.readouterr().err == expected


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"tunebench table: there is no file or folder {tmp_path / 'nowhere'}\n"


def test_damaged_records_are_named_and_the_rest_is_shown(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(results.rglob("*sft*")) / "record.json"
    path.write_text("{")
    assert main([str(results), "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert "lora" in out
    assert "sft" not in out
    assert f"left out: {path.resolve()}: is not valid JSON" in err


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("t.md", "###"),
        ("t.csv", "model,"),
        ("t.html", "<!DOCTYPE"),
        ("t.tex", "% "),
        ("t.json", "{"),
        ("t.txt", "tiny"),
    ],
)
def test_the_ending_of_out_decides_the_format(
    results: Path, capsys: pytest.CaptureFixture[str], name: str, beginning: str
) -> None:
    path = results.parent / "new" / name
    assert main([str(results), "--out", str(path)]) == 0
    assert path.read_text().startswith(beginning)
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"wrote {path}\n")


def test_an_unknown_ending_needs_a_format(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = results.parent / "table.xyz"
    assert main([str(results), "--out", str(path)]) == 2
    assert "cannot tell the format from 'table.xyz'; add --format" in capsys.readouterr().err
    assert main([str(results), "--out", str(path), "--format", "md"]) == 0
    assert path.read_text().startswith("###")


def test_a_file_that_cannot_be_written_is_said(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(results), "--format", "md", "--out", str(results)]) == 2
    assert f"cannot write {results}" in capsys.readouterr().err


def test_columns_are_chosen(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(results), "--format", "md", "--columns", "tokens_per_s, learning_rate"]) == 0
    assert "| method | tokens/s | learning rate | n | status |" in capsys.readouterr().out


def test_an_unknown_column_is_refused(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(results), "--columns", "token_per_s"]) == 2
    expected = "tunebench table: there is no column 'token_per_s'; did you mean 'tokens_per_s'?\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("conditions", "methods"),
    [
        (["method=lora"], ["base", "lora"]),
        (["method=l*,sft"], ["base", "lora", "sft"]),
        (["method.rank=4"], ["base", "sft"]),
        (["method=lora", "seed=1"], ["base", "lora"]),
        (["method=base"], ["base"]),
        (["budget=short", "hardware=cpu-*", "status=ok"], ["base", "lora", "sft"]),
    ],
)
def test_where_keeps_some_and_their_base(
    results: Path, capsys: pytest.CaptureFixture[str], conditions: list[str], methods: list[str]
) -> None:
    assert main([str(results), "--format", "json", "--where", *conditions]) == 0
    sections = json.loads(capsys.readouterr().out)["sections"]
    assert sorted(row["method"] for section in sections for row in section["rows"]) == methods


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("metod=lora", "--where: no record has a key 'metod'; did you mean 'method'?\n  metod=lora\n  ^"),
        (
            "seed=0 and rank=8",
            "--where: no record has a key 'rank'; did you mean 'method.rank'?\n  seed=0 and rank=8\n             ^",
        ),
        ("method", "--where: expected =, !=, <, <=, > or >= after 'method'\n  method\n        ^"),
        ("method=nope", "none of 4 records has method=nope"),
    ],
)
def test_where_that_cannot_be_met_is_said(
    results: Path, capsys: pytest.CaptureFixture[str], condition: str, message: str
) -> None:
    assert main([str(results), "--where", condition]) == 2
    assert capsys.readouterr().err == f"tunebench table: {message}\n"


def test_by_orders_the_titles(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(results), "--format", "md", "--by", "task,model"]) == 0
    assert capsys.readouterr().out.startswith("### pydoc · tiny-llama · ")
    assert main([str(results), "--by", "taks"]) == 2
    assert "did you mean 'task'" in capsys.readouterr().err


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "tunebench table --out table.html" in capsys.readouterr().out


def test_a_table_needs_no_heavy_library(results: Path) -> None:
    heavy = "{'torch', 'numpy', 'scipy', 'hydra', 'omegaconf', 'transformers', 'asyncio'}"
    code = (
        "import sys; from bench.report.cli import main; "
        f"assert main([{str(results)!r}]) == 0; found = {heavy} & set(sys.modules); assert not found, found"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, stdout=subprocess.DEVNULL)


def test_tuned_pareto_and_ranks(make: Make, store: Callable[..., Path], tmp_path: Path, capsys: Capture) -> None:
    for task in ("pydoc", "sorting"):
        for method, rank, loss in (("lora", 8, 0.5), ("lora", 4, 0.4), ("sft", 8, 0.3)):
            record = make(method, loss=loss, task__name=task, method__rank=rank)
            record.task = task
            store(record)
    folder = str(tmp_path / "runs")
    front = "validation_loss_nats,peak_train_bytes"
    assert main([folder, "--tuned", "loss", "--ranks", "--pareto", front, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = [(row["method"], row["trials"], row["pareto_front"]) for row in found["sections"][0]["rows"]]
    assert rows == [("sft", 1, 1), ("lora (method.rank=4)", 2, 2)]
    assert found["ranks"][0]["average_ranks"] == {"lora": 1.5, "sft": 1.5}
    assert main(["--tuned", folder]) == 2
    assert (
        f"--tuned takes a metric, got the path {folder}; name the folders of results first" in capsys.readouterr().err
    )
    assert main([folder, "--ranks", "nonsense"]) == 2
    assert "--ranks needs two tasks or more" in capsys.readouterr().err


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    """What the command writes as CSV."""
    assert main([*arguments, "--format", "csv"]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_where_asks_for_any_key(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def methods(*conditions: str) -> list[str]:
        return [row["method"] for row in rows(capsys, str(results), "--where", *conditions)]

    assert methods("method.rank<8 or seed=1") == ["base", "lora", "sft"]
    assert methods("not method.rank=8", "seed=0") == ["base", "sft"]
    assert methods("training.tokens_per_s>=1e3 and method=sft") == ["base", "sft"]
    assert methods("evaluation.test.metrics.accuracy>0.7 and (method=lora)") == ["base", "lora"]
    assert methods("peak_train_bytes>1 and method=lora") == ["base", "lora"]  # a column of the table
    assert methods("environment.libraries.torch>=2.9 and method=lora") == ["base", "lora"]


def test_a_pattern_of_folders(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(rows(capsys, str(results / "cpu-*"))) == 3
    assert len(rows(capsys, str(results / "**" / "lora-*"))) == 1
    assert main([str(results / "gpu-*")]) == 2
    expected = f"tunebench table: no folder and no record.json matches {results / 'gpu-*'}\n"
    assert capsys.readouterr().err == expected


def test_by_another_key_splits_the_sections(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(results), "--format", "json", "--by", "method.rank,model"]) == 0
    sections = json.loads(capsys.readouterr().out)["sections"]
    titles = [section["title"].split(" · ")[:2] for section in sections]
    assert titles == [["method.rank=4", "tiny-llama"], ["method.rank=8", "tiny-llama"]]
    assert [[row["method"] for row in section["rows"]] for section in sections] == [["base", "sft"], ["base", "lora"]]


def test_any_key_is_a_column(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "method.rank,environment.python,validation_loss_nats,training.tokens"
    assert main([str(results), "--format", "md", "--columns", asked]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| method | method.rank | environment.python | val. loss | training.tokens | n | status |" in lines
    assert any(line.startswith("| lora | 8 | 3.11.7 | 0.500 | 90,000 | 2 |") for line in lines)
    [base, lora, _] = rows(capsys, str(results), "--columns", asked)
    assert (base["method.rank"], lora["method.rank"], lora["environment.python"]) == ("", "8", "3.11.7")
    assert main([str(results), "--format", "json", "--columns", asked]) == 0
    values = json.loads(capsys.readouterr().out)["sections"][0]["rows"][1]["values"]
    assert (values["method.rank"]["value"], values["environment.python"]["value"]) == (8, "3.11.7")


def test_a_text_in_a_column_is_no_formula(
    make: Make, store: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(make(method__note="=1+1"))
    [row] = rows(capsys, str(tmp_path / "runs"), "--columns", "method.note")
    assert row["method.note"] == "'=1+1"


@pytest.fixture
def two_machines(make: Make, store: Callable[..., Path], where: Callable[..., Environment], tmp_path: Path) -> Path:
    """The same runs on two machines."""
    for hardware, loss in (("cpu-a", 0.5), ("cpu-b", 0.4)):
        for record in (make("base"), make(loss=loss), make("sft", loss=loss + 0.1)):
            record.environment = where(hardware=hardware)
            store(record)
    return tmp_path / "runs"


def test_unlike_things_are_mixed_on_request_and_marked(two_machines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(two_machines), "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["sections"]) == 2
    assert main([str(two_machines), "--format", "json", "--mix", "hardware,versions"]) == 0
    [section] = json.loads(capsys.readouterr().out)["sections"]
    assert section["title"] == "tiny-llama · pydoc · mixed hardware · short (300 steps)"
    labels = [f"{method} (hardware=cpu-{machine})" for method in ("base", "lora", "sft") for machine in "ab"]
    assert sorted(row["method"] for row in section["rows"]) == labels
    note = "mixed: hardware (cpu-a, cpu-b); best and ties are taken across these unlike things."
    assert section["notes"][0] == note
    best = [row["method"] for row in section["rows"] if row["values"]["validation_loss_nats"]["best"]]
    assert best == ["lora (hardware=cpu-b)"]
    found = rows(capsys, str(two_machines), "--mix", "hardware")
    assert {(row["method"][-2], row["hardware"]) for row in found} == {("a", "cpu-a"), ("b", "cpu-b")}


def test_what_does_not_differ_is_not_marked(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(results), "--format", "md"]) == 0
    plain = capsys.readouterr().out
    assert main([str(results), "--format", "md", "--mix", "hardware,budget,versions,model,task,data,measure"]) == 0
    assert capsys.readouterr().out == plain


def test_budgets_are_mixed(
    make: Make, store: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for record in (make("base"), make(), make(budget__name="long", budget__steps=900)):
        store(record)
    assert main([str(tmp_path / "runs"), "--format", "json", "--mix", "budget"]) == 0
    [section] = json.loads(capsys.readouterr().out)["sections"]
    assert {row["method"] for row in section["rows"]} == {"base", "lora (budget=long)", "lora (budget=short)"}
    assert section["caption"]["Budget"] == "long; short"


def test_an_unknown_mixture_is_refused(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(results), "--mix", "hardwear"]) == 2
    assert "--mix takes model, task, hardware, budget, measure, data, versions, source, got 'hardwear'; did you " in (
        capsys.readouterr().err
    )


def test_a_large_table_is_remembered_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remember, "MANY", 40)
    monkeypatch.setattr(kept, "TICK_NS", 0)
    make_store(tmp_path, 60, details=True)
    built = []
    monkeypatch.setattr(
        arguments, "build", lambda *args, **named: (built.append(named), table.build(*args, **named))[1]
    )
    first = rows(capsys, str(tmp_path))
    assert rows(capsys, str(tmp_path)) == first
    assert len(built) == 1
    rows(capsys, str(tmp_path), "--where", "model=tiny*")
    assert len(built) == 2
    examples = next(tmp_path.rglob("examples.jsonl"))
    examples.write_text(examples.read_text() + "\n")
    rows(capsys, str(tmp_path))
    assert len(built) == 3
    next(tmp_path.rglob("record.json")).write_text("{")
    for count in (4, 5):  # what is damaged is named every time
        assert main([str(tmp_path), "--format", "csv"]) == 0
        assert "left out" in capsys.readouterr().err
        assert len(built) == count


def edit(folder: Path, **config: object) -> None:
    """Change parts of the configuration in a record's file."""
    path = folder / "record.json"
    data = json.loads(path.read_text())
    data["config"] |= config
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"budget": "long"}, 'config.budget must be Budget, got "long"'),
        ({"budget": {"name": "long", "steps": "many"}}, 'config.budget.steps must be float, got "many"'),
        ({"model": {"path": 7}}, "config.model.path must be str, got 7"),
        ({"model": "gpt2"}, 'config.model must be Model, got "gpt2"'),
    ],
)
def test_a_record_with_a_foreign_configuration_is_named_and_the_rest_is_shown(
    results: Path, capsys: pytest.CaptureFixture[str], config: dict[str, object], complaint: str
) -> None:
    edit(next(results.rglob("*sft*")), **config)
    assert [row["method"] for row in rows(capsys, str(results), "--mix", "budget")] == ["base", "lora"]
    assert main([str(results)]) == 0
    assert complaint in capsys.readouterr().err


def test_a_budget_without_end_is_shown(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in results.glob("*/*"):
        edit(folder, budget={"name": "endless", "steps": "Infinity"})
    assert {row["budget"] for row in rows(capsys, str(results))} == {"endless (inf steps)"}


def test_where_leaves_out_the_base_of_another_machine(two_machines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, str(two_machines), "--where", "hardware=cpu-a")
    assert [(row["method"], row["hardware"]) for row in found] == [(name, "cpu-a") for name in ("base", "lora", "sft")]


def test_columns_that_there_always_are_stay_as_they_are(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(next(results.rglob("*sft*")), method={"name": "lora", "rank": 4})
    plain = rows(capsys, str(results))
    found = rows(capsys, str(results), "--columns", "method,group,status,seed,task,method.name")
    assert [(row["method"], row["group"], row["status"]) for row in found] == [
        (row["method"], row["group"], row["status"]) for row in plain
    ]
    assert main([str(results), "--format", "csv", "--columns", "group,status,seed,task"]) == 0
    header = capsys.readouterr().out.splitlines()[0].split(",")
    assert len(header) == len(set(header))
    assert main([str(results), "--format", "md", "--columns", "method,status,seed"]) == 0
    assert "| method | seed | n | status |" in capsys.readouterr().out


@pytest.mark.parametrize("names", ["", ","])
def test_no_column_at_all_is_refused(results: Path, capsys: pytest.CaptureFixture[str], names: str) -> None:
    assert main([str(results), "--columns", names]) == 2
    assert "--columns names no column" in capsys.readouterr().err


def test_a_folder_among_the_conditions_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--where", "task=pydoc", str(results)]) == 2
    expected = f"--where takes conditions, got the path {results}; name the folders of results first"
    assert expected in capsys.readouterr().err


def test_a_record_of_a_newer_tunebench_is_not_called_damaged(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(results.rglob("*sft*")) / "record.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 3'))
    assert main([str(results)]) == 0
    expected = f"tunebench table: left out: {path.resolve()}: has schema version 3; this tunebench reads up to 2"
    assert capsys.readouterr().err == f"{expected}\n"


def test_a_full_disk_is_said(results: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.fail("this system has no /dev/full")
    command = [sys.executable, "-m", "bench", "table", str(results)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 2
    assert done.stderr == "tunebench table: cannot write to standard output: No space left on device\n"


def test_control_characters_are_shown_and_never_obeyed(
    make: Make, store: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = make("lo\x1b[2Jra", status=Status.FAILED, method__note="\x9b31m")
    failed.reason, failed.failed_phase = "\x1b[31mRED\x07", "train"
    failed.model = "gp\nt2"
    assert failed.environment is not None
    failed.environment.device_name = "\x1b]0;CPU"
    store(failed)
    broken = tmp_path / "runs" / "a\x1b[0m\nb"
    broken.mkdir()
    (broken / "record.json").write_text("{")
    for name in ("terminal", *(name for name in FORMATS if name not in ("json", "html"))):
        assert main([str(tmp_path / "runs"), "--format", name, "--columns", "method.note,validation_loss_nats"]) == 0
        out, err = capsys.readouterr()
        assert not set(out + err) & {chr(code) for code in (*range(10), *range(11, 32), *range(127, 160))}, name
        assert err.count("\n") == 1
        assert r"a\x1b[0m\x0ab" in err
        assert "RED" in out
    [row] = rows(capsys, str(tmp_path / "runs"), "--columns", "method.note")
    assert (row["method"], row["reason"]) == (r"lo\x1b[2Jra", r"train: \x1b[31mRED\x07")
    assert (row["model"], row["method.note"]) == (r"gp\x0at2", r"\x9b31m")


def test_the_terminal_is_remembered_for_its_width_and_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remember, "MANY", 40)
    monkeypatch.setattr(kept, "TICK_NS", 0)
    make_store(tmp_path, 60)
    built: list[int] = []
    monkeypatch.setattr(arguments, "build", lambda *args, **named: (built.append(1), table.build(*args, **named))[1])

    def shown(**environment: str) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert main([str(tmp_path)]) == 0
        return capsys.readouterr().out

    plain = shown(COLUMNS="200")
    assert (shown(), len(built)) == (plain, 1)
    assert (shown(COLUMNS="80") != plain, len(built)) == (True, 2)
    coloured = shown(COLUMNS="200", FORCE_COLOR="1", TERM="xterm-256color", COLORTERM="truecolor")
    assert (shown(), len(built)) == (coloured, 3)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


def test_the_caption_counts(
    make: Make, store: Callable[..., Path], where: Callable[..., Environment], tmp_path: Path, capsys: Capture
) -> None:
    for seed in (0, 1):
        record = make(seed=seed)
        record.environment = where(threads=1)
        store(record)
    assert main([str(tmp_path / "runs"), "--format", "json"]) == 0
    caption = json.loads(capsys.readouterr().out)["sections"][0]["caption"]
    assert "2 cores, 1 thread," in caption["Hardware"]
    assert caption["Task"].endswith("n = 8 test examples)")

"""What `tunebench table` is asked for: conditions, order, columns and mixtures, as its users type them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.report.cli import main
from tests.report.conftest import Make, edit, rows

Capture = pytest.CaptureFixture[str]


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

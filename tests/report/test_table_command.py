"""`tunebench table` as its users type it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records import kept
from bench.records.schema import Environment, Status
from bench.report import arguments, remember, table
from bench.report.cli import main
from bench.report.formats import FORMATS
from tests.benchmarks.synthetic import make_store
from tests.report.conftest import Make, edit, rows

Capture = pytest.CaptureFixture[str]


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

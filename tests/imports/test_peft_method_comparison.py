"""The importer of huggingface/peft's method_comparison, on real files of it: each figure where it belongs."""

import json
import math
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main as tunebench
from bench.imports.cli import main
from bench.imports.peft_method_comparison import read
from bench.records import store
from bench.records.schema import Parameters, Record, Status
from bench.report.compare import compare
from bench.report.formats import comma_separated, markdown
from bench.report.table import build

FILES = Path(__file__).parent / "peft_method_comparison"
OLD = "lora--llama-3.2-3B-rank32--2025-06-17T13-30-58+00-00.json"
RANK32, RANK64 = "lora--llama-3.2-3B-rank32.json", "lora--llama-3.2-3B-rank64.json"
FULL, PTUNING = "full-finetuning--llama-3.2-3B-lr_0.00001.json", "ptuning--llama-3.2-3B-vt20-LSTM.json"
Change = Callable[[dict[str, Any]], Any]


def raw(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FILES / name).read_text())
    return found


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Change], Path]:
    """A copy of a real file with a change."""

    def make(change: Change, name: str = RANK64) -> Path:
        data = raw(name)
        change(data)
        path = tmp_path / name
        path.write_text(json.dumps(data))
        return path

    return make


def test_a_record_says_what_it_is_and_where_it_comes_from() -> None:
    record = read(FILES / RANK64, "5d602fdbf").record
    assert (record.method, record.config["method"]["experiment"]) == ("lora", "rank64")
    assert (record.model, record.task, record.seed, record.status) == (
        "Llama-3.2-3B", "metamathqa-gsm8k", 0, Status.OK,
    )  # fmt: skip
    assert (record.started_at, record.finished_at) == ("2025-06-19T16:55:20+00:00", "2025-06-19T17:28:57+00:00")
    source = record.source
    assert source is not None
    assert (source.commit, source.license) == ("5d602fdbf", "Apache-2.0")
    assert source.file == "method_comparison/MetaMathQA/results/lora--llama-3.2-3B-rank64.json"
    assert "no effect" in source.notes["seed"]
    assert record.config["peft_config"]["r"] == 64
    assert record.config["train_config"]["optimizer_kwargs"] == {"lr": 0.0001, "weight_decay": 0.1}
    assert record.environment is not None
    assert (record.environment.hardware, record.environment.device_name) == ("nvidia-l40s", "NVIDIA L40S")
    assert record.environment.libraries["peft"] == "0.15.2.dev0"
    assert record.environment.git_commit == "5fe7f8f8abe914d313fc3751f2ea92de7718fbaf"
    assert record.environment.threads is None


@pytest.mark.parametrize("name", [OLD, RANK32, RANK64, FULL, PTUNING])
def test_the_figures_of_a_file_mean_in_the_record_what_they_mean_there(name: str) -> None:
    data, record = raw(name), read(FILES / name, None).record
    info = data["train_info"]
    windows, last = info["metrics"][:-1], info["metrics"][-1]
    training, evaluation = record.training, record.evaluation
    assert training is not None
    assert evaluation is not None
    assert evaluation.test is not None
    assert (training.steps, training.examples, training.tokens) == (5000, 20000, 4198051)
    seconds = sum(window["train time"] for window in windows)
    assert training.seconds == pytest.approx(seconds)
    assert training.seconds < info["train_time"] * 0.9  # which holds more than steps
    assert training.tokens_per_s == pytest.approx(last["train total tokens"] / seconds, rel=1e-9)
    assert training.final_loss == pytest.approx((windows[-1]["train loss"] + windows[-2]["train loss"]) / 2)
    assert (training.step_s, training.first_loss, training.trained_tokens) == (None, None, None)
    [phase] = record.phases
    assert phase.peak_allocated_bytes is None
    assert phase.peak_reserved_bytes == info.get("accelerator_memory_max", info.get("cuda_memory_max"))
    assert phase.name not in ("load", "train", "evaluate")
    assert (evaluation.test.examples, evaluation.test.loss) == (1319, None)
    assert evaluation.test.metrics["gsm8k_accuracy"].value == last["test accuracy"]
    assert (evaluation.validation.examples, evaluation.validation.loss) == (50, None)
    assert evaluation.validation.metrics["gsm8k_accuracy"].value == windows[-1]["valid accuracy"]
    assert record.checkpoint_bytes == info["file_size"]


def test_what_is_known_of_a_file_depends_on_its_age() -> None:
    assert read(FILES / OLD, None).record.parameters is None
    assert read(FILES / RANK64, None).record.parameters == Parameters(18350080, 3231099904)
    new = read(FILES / PTUNING, None).record
    assert new.evaluation is not None
    assert new.evaluation.test is not None
    assert new.evaluation.forgetting is None  # theirs is no loss of the next token
    assert new.evaluation.test.metrics["forgetting_as_reported"].value == 1.6402645111083984
    assert not new.evaluation.test.metrics["forgetting_as_reported"].higher_is_better


def test_full_fine_tuning_trained_in_bfloat16_and_adapters_in_float32() -> None:
    dtypes = {name: read(FILES / name, None).record.training for name in (FULL, RANK64)}
    assert [(t.precision, t.trainable_dtype) for t in dtypes.values() if t] == [
        ("bfloat16", "bfloat16"), ("bfloat16", "float32"),
    ]  # fmt: skip


def test_the_loss_curve_has_a_line_for_each_window() -> None:
    steps = read(FILES / RANK64, None).steps
    assert len(steps) == 20
    assert steps[0] == {
        "step": 250, "loss": 0.9425119986534118, "seconds": 31.823601707994385, "tokens": 211719, "mean_of": 250,
    }  # fmt: skip
    assert sum(step["tokens"] for step in steps) == 4198051


@pytest.mark.parametrize(
    ("message", "steps", "status", "phase"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", 3, Status.OOM, "train"),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", 20, Status.OOM, "evaluate"),
        ("manually canceled", 3, Status.INTERRUPTED, "train"),
        ("index 7 is out of bounds", 0, Status.FAILED, "train"),
        ("", 3, Status.FAILED, "train"),
    ],
)
def test_a_cancelled_run_has_a_status_and_what_it_reached(
    changed: Callable[[Change], Path], message: str, steps: int, status: Status, phase: str
) -> None:
    def cancel(data: dict[str, Any]) -> None:
        data["run_info"]["error_msg"] = message
        info = data["train_info"]
        info |= {"status": "canceled", "metrics": info["metrics"][:steps], "file_size": 99999999}

    record = read(changed(cancel), None).record
    assert (record.status, record.failed_phase) == (status, phase)
    assert record.reason == (message or "the source says 'canceled' and no more")
    assert record.checkpoint_bytes is None  # the number that stands for none
    assert (record.training is None) == (steps == 0)
    if record.training:
        assert (record.training.steps, record.training.examples) == (250 * steps, 1000 * steps)
        assert (record.training.final_loss is None) == (steps < 20)
        assert record.evaluation is not None
        assert record.evaluation.test is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("train_info"), "the key train_info is missing"),
        (lambda data: data["train_info"].update(metrics={}), "metrics must be list, got '{}'"),
        (
            lambda data: data["train_info"]["metrics"][3].update({"train time": "1"}),
            "train time must be float, got '1'",
        ),
        (lambda data: data["run_info"]["train_config"].update(seed=True), "train_config.seed must be int, got 'True'"),
        (lambda data: data["run_info"].update(created_at="yesterday"), "Invalid isoformat string: 'yesterday'"),
        (lambda data: data["meta_info"].pop("system_info"), "the key system_info is missing"),
        (
            lambda data: data["train_info"].update(metrics=[1, "x", None]),
            "train_info.metrics has no test accuracy, though the run succeeded",
        ),
        (lambda data: data["run_info"].update(experiment_name=""), "run_info.experiment_name is empty"),
        (
            lambda data: data["train_info"]["metrics"][-1].update({"test accuracy": float("nan")}),
            "test accuracy must be a finite number, got nan",
        ),
    ],
)
def test_a_file_that_lacks_something_is_refused_with_the_key(
    changed: Callable[[Change], Path], change: Change, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message.replace('{', '.').replace('}', '.')}$"):
        read(changed(change), None)


def imported(tmp_path: Path, *more: str) -> dict[Path, Record]:
    assert main(["peft-method-comparison", str(FILES), "--out", str(tmp_path), *more]) == 0
    found, damaged = store.scan([tmp_path])
    assert not damaged
    return found


def test_the_command_writes_records_and_importing_again_replaces_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "peft-method-comparison"
    assert len(imported(tmp_path, "--commit", "5d602fdbf012")) == 5
    assert capsys.readouterr().out == (
        f"5 records of huggingface/peft method_comparison (commit 5d602fdbf0) in {place}\n"
        f"`tunebench table {place}` shows them\n"
    )
    folder = place / "lora--llama-3.2-3B-rank64"
    assert sorted(path.name for path in folder.iterdir()) == ["record.json", "steps.jsonl"]
    assert len(store.read_lines(folder / "steps.jsonl")) == 20
    (place / "gone").mkdir()
    shutil.copy(folder / "record.json", place / "gone")
    (place / "mine").mkdir()
    (place / "mine" / "notes.txt").write_text("kept")
    again = imported(tmp_path)
    assert len(again) == 5
    assert {record.source.commit for record in again.values() if record.source} == {None}
    assert "6 earlier ones replaced" in capsys.readouterr().out
    assert (place / "mine" / "notes.txt").exists()


def test_damaged_files_are_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tmp_path / "given"
    shutil.copytree(FILES, given)
    (given / "torn.json").write_text('{"run_info": ')
    (given / "other.json").write_text("[]")
    for name, key, odd in (
        ("zero", "train time", 0.0),
        ("inf", "tokens / sec", math.inf),
        ("nan", "tokens / sec", math.nan),
    ):
        data = raw(RANK64)
        for line in data["train_info"]["metrics"][:-1]:
            line[key] = odd
        (given / f"{name}.json").write_text(json.dumps(data))
    assert main(["peft-method-comparison", str(given), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert f"left out: {given / 'torn.json'}: is not valid JSON" in said.err
    assert f"left out: {given / 'other.json'}: is not a JSON object" in said.err
    assert "5 of 10 files left out" in said.out
    assert said.err.count("left out") == 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "there is no folder {}"),
        (lambda folder: folder.write_text(""), "{} is not a folder"),
        (lambda folder: folder.mkdir(), "no result files (*.json) in {}"),
        (
            lambda folder: (folder.mkdir(), (folder / "x.json").write_text("{}")),
            "none of 1 files in {} is a result of huggingface/peft method_comparison",
        ),
    ],
)
def test_what_cannot_be_imported_is_a_message_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], Any], message: str
) -> None:
    folder = tmp_path / "given"
    make(folder)
    assert main(["peft-method-comparison", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"tunebench import: {message.format(folder)}"
    assert not (tmp_path / "out").exists()


def test_in_a_checkout_the_folder_and_the_commit_are_found(tmp_path: Path) -> None:
    root = tmp_path / "peft"
    shutil.copytree(FILES, root / "method_comparison" / "MetaMathQA" / "results")

    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        done = subprocess.run(["git", *who, *words], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "results")
    for changes, mark in ((False, ""), (True, "+")):
        if changes:
            (root / "method_comparison" / "MetaMathQA" / "results" / "new.json").write_text("{}")
        assert main(["peft-method-comparison", str(root), "--out", str(tmp_path / "out")]) == 0
        commits = {r.source.commit for r in store.load([tmp_path / "out"])[0] if r.source}
        assert commits == {git("rev-parse", "HEAD") + mark}


def test_a_table_of_imported_records_says_so_everywhere(tmp_path: Path) -> None:
    found = imported(tmp_path, "--commit", "5d602fdbf012")
    table = build(list(found.values()), list(found))
    titles = [section.title for section in table.sections]
    assert titles == [
        "Llama-3.2-3B · metamathqa-gsm8k · nvidia-geforce-rtx-4090 · 5000 steps",
        "Llama-3.2-3B · metamathqa-gsm8k · nvidia-l40s · 5000 steps",
    ]  # versions and dates do not divide it
    section = table.sections[1]
    assert [row.label for row in section.rows] == [
        "full-finetuning (lr_0.00001) [imported]", "lora (rank32) [imported]", "lora (rank64) [imported]",
    ]  # fmt: skip
    assert section.caption["Imported"] == (
        "from huggingface/peft method_comparison, commit 5d602fdbf0 (https://github.com/huggingface/peft, Apache-2.0); "
        "measured by others, 2025-06-19 to 2025-06-20; see the notes"
    )
    assert next(iter(section.caption)) == "Imported"
    keys = [column.key for column in section.shown]
    assert "peak_reserved_bytes" in keys
    assert "peak_train_bytes" not in keys
    assert any("not the peak of allocated memory" in note for note in section.notes)
    assert not any("warm" in note or "first 0 steps" in note for note in section.notes)
    cell = section.rows[0].cells["test_gsm8k_accuracy"]
    assert cell.text() == "0.500 ±0.027"  # Wilson, 660 of 1319
    assert cell.best
    assert [row.cells["test_gsm8k_accuracy"].tied for row in section.rows[1:]] == [True, True]  # 636 and 645
    assert "[imported]" in markdown(table).replace("\\", "")
    assert comma_separated(table).count("[imported]") == 4


def test_libraries_of_several_dates_are_a_range(tmp_path: Path) -> None:
    found = list(imported(tmp_path).values())
    versions = {RANK32: "0.9.1", OLD: "0.8", RANK64: "0.10.0", FULL: "0.9.10", PTUNING: "0.19"}
    for record in found:
        assert record.environment is not None
        libraries = record.environment.libraries | {"peft": versions[f"{record.run_id}.json"]}
        record.environment = replace(record.environment, libraries=libraries)  # records may share theirs
    [section] = [s for s in build(found).sections if "l40s" in s.title]
    assert "peft 0.9.1 to 0.10.0" in section.caption["Versions"]  # the older rank32 is left out


def test_shares_of_imported_runs_have_an_unpaired_interval() -> None:
    one, other = (read(FILES / name, None).record for name in (RANK32, RANK64))
    for record, right, n in ((one, 48, 80), (other, 56, 70)):  # the example of Newcombe (1998)
        assert record.evaluation is not None
        assert record.evaluation.test is not None
        record.evaluation.test.examples = n
        record.evaluation.test.metrics["gsm8k_accuracy"].value = right / n
    [pair] = compare({Path("a"): one}, {Path("b"): other}).pairs
    [found] = [figure for figure in pair.figures if figure.column.key == "test_gsm8k_accuracy"]
    assert found.interval == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))
    assert found.basis == "not paired: the answers are unknown"
    assert [each.key for each in pair.settings] == ["method.experiment", "peft_config.r", "peft_config.lora_alpha"]


def test_the_command_is_one_of_tunebench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ["tunebench", "import", "peft-method-comparison", str(FILES), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)
    assert tunebench() == 0
    assert len(store.load([tmp_path])[0]) == 5


def own(record: Record) -> Record:
    """The same figures, as if they had been measured here."""
    return replace(record, source=None, run_id=f"{record.run_id}-own", group=f"{record.group}-own")


def test_own_records_of_the_same_configuration_stand_in_another_section(tmp_path: Path) -> None:
    found = list(imported(tmp_path).values())
    sections = build(found + [own(record) for record in found]).sections
    marks = [{"[imported]" in row.label for row in section.rows} for section in sections]
    assert sorted(map(list, marks)) == [[False]] * (len(sections) - 2) + [[True]] * 2


def test_beside_own_rows_no_imported_one_is_marked_as_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(imported(tmp_path).values())
    monkeypatch.setattr("bench.report.imported.facts", lambda record: {**TOGETHER, "source": ""})
    worse = [own(record) for record in found if record.config["method"]["experiment"] in ("rank32", "rank64")]
    [section] = [s for s in build(found + worse).sections if "l40s" in s.title]
    cells = {row.label: row.cells["test_gsm8k_accuracy"] for row in section.rows}
    assert len(cells) == 5
    assert [label for label, cell in cells.items() if cell.best or cell.tied] == ["lora (method.experiment=rank64)"]


TOGETHER = {"libraries": {}, "data": "", "tunebench_version": "", "schema_version": 2}

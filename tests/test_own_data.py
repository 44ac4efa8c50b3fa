"""One's own data and one's own kind of model, from the command line's words to the record."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.app import UserError, plan
from bench.config import Run
from bench.records import store
from bench.records.schema import Record, Status
from bench.worker import work

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "tests" / "data" / "formats" / "files").iterdir())
KINDS = {"preference": "preference", "classification": "classification", "text": "text"}  # else generation
QUICK = (
    "budget.steps=3", "train.batch_size=4", "train.precision=float32", "measure.warmup_steps=0",
    "task.max_new_tokens=4", "measure.general_tokens=512", "launch.predict=false",
)  # fmt: skip


def planned(*overrides: str) -> Run:
    (run,) = plan("run", [*QUICK, *overrides])
    return run


def carried_out(run: Run, results: Path) -> Record:
    folder = store.run_folder(results, "cpu-test", run.run_id())
    folder.mkdir(parents=True)
    return work(run, folder, lambda event: None)


def kind_of(file: Path) -> str:
    return KINDS.get(file.name.partition(".")[0].partition("_")[0], "generation")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_lora_on_the_embedded_model_runs_on_every_format(file: Path, tmp_path: Path):
    run = planned("method=lora", "model=tiny-llama", "task=file", f"data.train={file}")
    record = carried_out(run, tmp_path)
    assert record.status is Status.OK, record.traceback
    assert record.data is not None
    assert record.data.kind == kind_of(file)
    assert list(record.data.files) == [str(file)]
    assert sum(record.data.sizes.values()) >= 24
    assert record.evaluation is not None
    assert record.evaluation.test is not None
    expected = {
        "generation": {"exact_match", "perplexity", "bits_per_byte"},
        "classification": {"accuracy", "macro_f1", "matthews", "preference_accuracy", "preference_margin"},
        "preference": {"preference_accuracy", "preference_margin"},
        "text": {"perplexity", "bits_per_byte"},
    }
    assert record.evaluation.test.metrics.keys() == expected[kind_of(file)]


@pytest.mark.parametrize("name", ["preference_messages.jsonl", "classification.csv"])
def test_pairs_and_labels_can_be_learned_by_preference(name: str, tmp_path: Path):
    file = ROOT / "tests" / "data" / "formats" / "files" / name
    record = carried_out(planned("method=dpo", "task=file", f"data.train={file}"), tmp_path)
    assert record.status is Status.OK, record.traceback


def test_data_without_wrong_answers_cannot_be_learned_by_preference(tmp_path: Path):
    file = ROOT / "tests" / "data" / "formats" / "files" / "alpaca.jsonl"
    record = carried_out(planned("method=dpo", "task=file", f"data.train={file}"), tmp_path)
    assert (record.status, record.reason) == (Status.UNSUPPORTED, "the task has no rejected answers to learn from")


def test_questions_with_few_answers_can_be_taken_as_a_classification(tmp_path: Path):
    own = tmp_path / "own.jsonl"
    rows = [{"instruction": f"Is {i} even?", "output": "no" if i % 2 else "yes"} for i in range(40)]
    own.write_text("\n".join(map(json.dumps, rows)))
    run = planned("task=file", "task.kind=classification", f"data.train={own}", "data.template=chatml")
    record = carried_out(run, tmp_path)
    assert record.status is Status.OK, record.traceback
    assert record.evaluation is not None
    assert record.evaluation.test is not None
    assert 0 <= record.evaluation.test.metrics["accuracy"].value <= 1
    folder = store.run_folder(tmp_path, "cpu-test", run.run_id())
    lines = store.read_lines(folder / store.EXAMPLES)
    assert {line["correct"] for line in lines} <= {0, 1}
    assert all(line["correct"] == (line["prediction"] == line["answer"]) for line in lines)


def test_a_changed_file_is_another_run(tmp_path: Path):
    own = tmp_path / "own.jsonl"
    own.write_text('{"prompt": "a", "completion": "b"}\n' * 30)
    before = planned("task=file", f"data.train={own}")
    assert planned("task=file", f"data.train={own}").run_id() == before.run_id()
    assert planned("task=file", f"data.train={own}", "data.retries=9").run_id() == before.run_id()
    own.write_text('{"prompt": "a", "completion": "c"}\n' * 30)
    assert planned("task=file", f"data.train={own}").run_id() != before.run_id()


def test_changed_weights_in_a_model_s_folder_are_another_run(tiny_llama: str, tmp_path: Path):
    folder = tmp_path / "mine"
    shutil.copytree(tiny_llama, folder)
    overrides = ("model=hub", f"model.path={folder}", "model.name=mine")
    before = planned(*overrides)
    assert planned(*overrides).run_id() == before.run_id()
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    after = planned(*overrides)
    assert (after.run_id() == before.run_id(), after.base().run_id() == before.base().run_id()) == (False, False)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("task=file",), "data.train must be given with task=file: a file, a folder or a URL"),
        (("task=file", "data.train=none.jsonl"), "data.train: there is no file or folder none.jsonl"),
        (
            ("data.train=none.jsonl",),
            "data.train has no effect on task=pydoc, which makes its own; use task=file\n"
            "data.train: there is no file or folder none.jsonl",
        ),
        (
            ("task=gsm8k", "data.test=https://example.org/a.jsonl"),
            "data.train must be given with data.validation or data.test",
        ),
        (
            ("task=file", "data.train=https://me:pw@example.org/a.jsonl"),
            "data: leave the credentials out of the URL of example.org, it goes into records; "
            "they are read from the environment and ~/.netrc",
        ),
        (("task=gsm8k", "task.prompt='{{ question'"), None),
        (("task.metrics=[rogue1]",), "task.metrics: there is no metric 'rogue1'; did you mean 'rouge1'?"),
        (("data.validation_share=0.7", "data.test_share=0.5"), None),
    ],
)
def test_mistakes_are_found_before_anything_starts(overrides: tuple[str, ...], message: str | None):
    with pytest.raises(UserError) as error:
        planned(*overrides)
    if message is not None:
        assert str(error.value) == message
    assert "Traceback" not in str(error.value)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts whose label is a word in them."""
    words = ("file", "words", "module")
    path = tmp_path_factory.mktemp("data") / "labelled.jsonl"
    rows = [{"text": f"Return the {words[i % 3]} of the text {i}", "label": words[i % 3]} for i in range(90)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "summaries.jsonl"
    rows = [
        {"prompt": f"Open the file {i} and read its lines one by one.", "completion": "read lines"} for i in range(60)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def tunebench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def records(folder: Path) -> dict[str, Record]:
    found = [store.read(path) for path in (folder / "results").rglob("record.json")]
    return {record.method: record for record in found}


def metrics(record: Record) -> dict[str, Any]:
    assert record.evaluation is not None
    assert record.evaluation.test is not None
    return record.evaluation.test.metrics


def validation_loss(record: Record) -> float:
    assert record.evaluation is not None
    return record.evaluation.validation.loss


@pytest.mark.slow
def test_a_classifier_and_a_summariser_go_through_sweep_table_and_resume(
    labelled: Path, summaries: Path, tmp_path: Path
):
    from bench.models.tiny import tiny_model

    bert, t5 = tiny_model(tmp_path / "bert", "bert"), tiny_model(tmp_path / "t5", "t5")
    classify = (
        "sweep", "method=full,lora", "model=hub", f"model.path={bert}", "model.name=tiny-bert", "task=file",
        f"data.train={labelled}", *QUICK, "budget.steps=60", "method.learning_rate=3e-3",
        "task.max_length=64",
    )  # fmt: skip
    first = tunebench(tmp_path, *classify)
    assert first.returncode == 0, first.stderr
    found = records(tmp_path)
    assert found.keys() == {"base", "full", "lora"}
    assert all(record.data is not None and record.data.kind == "classification" for record in found.values())
    assert metrics(found["full"]).keys() >= {"accuracy", "macro_f1", "matthews"}
    assert validation_loss(found["full"]) < validation_loss(found["base"])
    assert all(record.evaluation is not None and record.evaluation.general_loss is None for record in found.values())
    assert "tiny-bert · file" in first.stdout

    summarise = (
        "run", "method=lora", "model=hub", f"model.path={t5}", "model.name=tiny-t5", "task=file",
        "task.kind=summarisation", f"data.train={summaries}", *QUICK, "budget.steps=20",
    )  # fmt: skip
    assert tunebench(tmp_path, *summarise).returncode == 0
    lora = next(store.read(path) for path in (tmp_path / "results").rglob("lora-tiny-t5*/record.json"))
    assert metrics(lora).keys() == {"rouge1", "rouge2", "rougeL"}
    assert lora.evaluation is not None
    assert lora.evaluation.forgetting is not None
    assert lora.training is not None
    assert lora.training.final_loss < lora.training.first_loss

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("record.json")}
    again = tunebench(tmp_path, *classify)
    assert again.returncode == 0
    assert again.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before

    table = tunebench(tmp_path, "table", "--format", "md")
    assert table.returncode == 0
    assert "tiny-bert" in table.stdout
    assert "tiny-t5" in table.stdout
    assert "ROUGE-L" in table.stdout


def test_an_architecture_alone_runs_without_any_download(tmp_path: Path):
    sizes = "model_type:gpt2,n_embd:32,n_layer:2,n_head:2,n_positions:256,vocab_size:2048"
    run = planned(
        "model=hub", "model.path=nobody/nothing", "model.name=small", "model.weights=random",
        f"model.architecture={{{sizes}}}", "model.architecture.n_layer=3", "task.train_examples=8",
        "task.validation_examples=4", "task.test_examples=4", "measure.forgetting=false",
    )  # fmt: skip
    assert run.model.architecture["n_layer"] == 3
    record = carried_out(run, tmp_path)
    assert record.status is Status.OK, record.traceback
    wrong = planned(
        "model=hub", "model.path=nobody/nothing", "model.weights=random", "model.architecture={model_type:gtp2}"
    )
    failed = carried_out(wrong, tmp_path)
    assert (
        failed.reason == "ValueError: model.architecture: transformers knows no model_type 'gtp2'; did you mean 'gpt2'?"
    )


def test_rows_that_are_longer_than_the_model_has_places_are_refused_before_loading(tmp_path: Path):
    run = planned("model=gpt2", "model.weights=random", "method=prompt", "task.max_length=1020")
    record = carried_out(run, tmp_path)
    assert (record.status, record.reason) == (
        Status.UNSUPPORTED,
        "gpt2 has 1024 positions, too few for task.max_length=1020 and 16 virtual tokens",
    )
    assert record.phases == []


def test_an_answer_needs_places_too_once_the_rows_say_that_there_are_any(tmp_path: Path):
    file = ROOT / "tests" / "data" / "formats" / "files" / "alpaca.jsonl"
    run = planned("model=gpt2", "model.weights=random", "task=file", f"data.train={file}", "task.max_length=1024")
    record = carried_out(run, tmp_path)
    assert (record.status, record.reason) == (
        Status.UNSUPPORTED,
        "gpt2 has 1024 positions, too few for task.max_length=1024, task.max_new_tokens=4",
    )
    assert record.phases == []


def test_a_named_model_runs_with_random_weights_and_no_network(labelled: Path, tmp_path: Path):
    common = ("model.weights=random", "task=file", f"data.train={labelled}", "measure.forgetting=false")
    small = {
        "bert-base": ("model.architecture.num_hidden_layers=1", "model.architecture.vocab_size=2100"),
        "t5-small": ("model.architecture.num_layers=1", "model.architecture.num_decoder_layers=1"),
    }
    for name, sizes in small.items():
        record = carried_out(planned(f"model={name}", "method=lora", "budget.steps=1", *sizes, *common), tmp_path)
        assert record.status is Status.OK, record.traceback

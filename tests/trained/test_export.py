"""`tunebench export`: what is written loads by itself in a fresh process and computes what the run's model does."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import method as method_module
from bench.export import main
from bench.method import Context, Method, discover
from bench.records import store
from bench.records.schema import Status
from bench.trained.find import Finished, finished
from bench.trained.model import base, tuned
from methods.dpo import Dpo
from methods.full import Full
from methods.lora import Lora
from methods.prefix import Prefix
from methods.prompt import Prompt
from methods.qlora import Qlora
from tests.trained.conftest import RATE

ROOT = Path(__file__).resolve().parents[2]
IDS = [[5, 9, 14, 3, 22, 8, 31]]
EXPORTS = {
    "lora": (Lora(learning_rate=RATE), ("adapter", "merge")),
    "dpo": (Dpo(learning_rate=RATE), ("adapter", "merge")),
    "qlora": (Qlora(learning_rate=RATE), ("adapter", "merge")),
    "prefix": (Prefix(learning_rate=RATE), ("adapter",)),
    "prompt": (Prompt(learning_rate=RATE), ("adapter",)),
    "full": (Full(), ("merge",)),
}
# what a user would type, without tunebench in the process
LOAD = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

found = {}
for name, form, folder in json.loads(sys.argv[1]):
    if form == "merge":
        model = AutoModelForCausalLM.from_pretrained(folder)
        found[f"{name} text"] = AutoTokenizer.from_pretrained(folder).decode([5, 9, 14])
    else:
        base = json.load(open(f"{folder}/adapter_config.json"))["base_model_name_or_path"]
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    with torch.no_grad():
        found[f"{name} {form}"] = model.eval()(input_ids=torch.tensor([[5, 9, 14, 3, 22, 8, 31]])).logits[:, -7:]
assert "bench" not in sys.modules
torch.save(found, sys.argv[2])
"""


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor(IDS)).logits[:, -len(IDS[0]) :]


@pytest.fixture(scope="module")
def exported(trained: Callable[..., Finished], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every export of every method."""
    folder = tmp_path_factory.mktemp("exported")
    for name, (method, forms) in EXPORTS.items():
        for form in forms:
            assert main([str(trained(method).folder), f"--{form}", str(folder / f"{name}-{form}")]) == 0
    return folder


@pytest.fixture(scope="module")
def loaded(exported: Path) -> dict[str, Any]:
    """Logits of all of them, as a fresh process computes them without tunebench."""
    work = [(name, form, str(exported / f"{name}-{form}")) for name, (_, forms) in EXPORTS.items() for form in forms]
    command = [sys.executable, "-c", LOAD, json.dumps(work), str(exported / "logits.pt")]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    done = subprocess.run(command, cwd=exported, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return torch.load(exported / "logits.pt")  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "form"), [(name, form) for name, (_, forms) in EXPORTS.items() for form in forms if name != "qlora"]
)
def test_an_export_loaded_elsewhere_computes_what_the_run_s_model_does(
    name: str, form: str, loaded: dict[str, Any], trained: Callable[..., Finished]
) -> None:
    found = trained(EXPORTS[name][0])
    expected = logits(tuned(found, "cpu", torch.float32)[0])
    assert torch.allclose(loaded[f"{name} {form}"], expected, atol=1e-4)
    assert (expected - logits(base(found.run, "cpu", torch.float32)[0])).abs().max() > 1e-2


def test_what_was_trained_on_a_quantised_base_goes_onto_the_base_as_it_is(
    loaded: dict[str, Any], trained: Callable[..., Finished], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = trained(EXPORTS["qlora"][0])
    unrounded = logits(tuned(found, "cpu", torch.float32, quantised=False)[0])
    rounded = logits(tuned(found, "cpu", torch.float32)[0])
    assert torch.allclose(loaded["qlora merge"], unrounded, atol=1e-4)
    assert torch.allclose(loaded["qlora adapter"], unrounded, atol=1e-4)
    assert 1e-4 < (rounded - unrounded).abs().max() < 1.0
    assert main([str(found.folder), "--merge", str(tmp_path / "out")]) == 0
    note = "Note: trained on a quantised base, it is merged into the base in float32, so answers may differ."
    assert note in capsys.readouterr().out
    assert note in (tmp_path / "out" / "README.md").read_text()


def test_a_model_comes_with_its_tokenizer_and_settings(exported: Path, loaded: dict[str, Any]) -> None:
    names = {file.name for file in (exported / "lora-merge").iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert loaded["lora text"] == loaded["full text"] != ""
    assert {file.name for file in (exported / "lora-adapter").iterdir()} == {
        "README.md", "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip


def test_the_card_says_what_the_record_knows(exported: Path, trained: Callable[..., Finished], tiny_llama: str) -> None:
    record = trained(EXPORTS["lora"][0]).record
    card = (exported / "lora-adapter" / "README.md").read_text()
    head, body = card.split("---\n")[1:]
    assert head == 'library_name: peft\ntags: ["tunebench", "lora"]\n'
    assert f'from_pretrained("{tiny_llama}")' in body
    assert record.run_id in body
    assert f"SHA-256 {record.data.fingerprint}" in body
    assert f"| validation loss | {record.evaluation.validation.loss:.4g} |" in body
    assert f"6 steps of 4 examples, {record.training.tokens:,} tokens, learning rate 0.05, computed in float32" in body
    assert f"torch {record.environment.libraries['torch']}" in body
    assert '"rank": 8' in body


def test_the_dtype_of_a_merged_model_can_be_chosen(trained: Callable[..., Finished], tmp_path: Path) -> None:
    folder = trained(EXPORTS["full"][0]).folder
    assert main([str(folder), "--merge", str(tmp_path / "out"), "--dtype", "bfloat16"]) == 0
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"


@dataclass
class Scale(Method):
    """Trains a factor on the logits, which peft knows nothing of."""

    name: str = "scale"
    learning_rate: float = 0.1

    def adapt(self, model: Any, context: Context) -> Any:
        """A module of its own around the head's output."""
        model.factor = torch.nn.Parameter(torch.ones(()))
        model.get_output_embeddings().register_forward_hook(lambda _, __, out: out * model.factor)
        return model

    def mergeable(self) -> bool:
        """It says so, and keeps a weight of its own."""
        return True


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> Method:
    """A method that is registered for one test."""
    discover()
    monkeypatch.setitem(method_module._registry, "scale", Scale)
    return Scale()


def test_what_cannot_be_written_is_refused_with_what_can(
    scale: Method, trained: Callable[..., Finished], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    for method, form, words in (
        (EXPORTS["prefix"][0], "--merge", "prefix cannot be merged into the base; --adapter writes what it trained"),
        (
            EXPORTS["full"][0],
            "--adapter",
            "what full trains is no adapter of peft's",
        ),
        (
            scale,
            "--adapter",
            "what scale trains is no adapter of peft's",
        ),
        (scale, "--merge", "scale cannot be merged by tunebench: it keeps weights of its own, such as factor"),
    ):
        assert main([str(trained(method).folder), form, out]) == 2
        assert capsys.readouterr().err.startswith(f"tunebench export: {words}")
        assert not Path(out).exists()


def test_a_run_without_weights_says_how_to_get_them(
    trained: Callable[..., Finished], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, key in (("lora", "keep_adapter"), ("full", "keep_model")):
        source = trained(EXPORTS[name][0]).folder
        folder = tmp_path / "results" / "runs" / "cpu" / source.name
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(store.WEIGHTS))
        assert main([str(folder), "--merge", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert f"{source.name} has no weights: " in said
        assert f"`tunebench reproduce {folder} launch.{key}=true` makes them again" in said


def test_runs_that_did_not_end_well_and_folders_in_use_are_refused(
    trained: Callable[..., Finished], make_run: Any, carry_out: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora, out = trained(EXPORTS["lora"][0]), tmp_path / "out"
    untouched = carry_out(make_run(None))[1]
    failed = tmp_path / "failed"
    record = replace(lora.record, status=Status.DIVERGED, reason="nan")
    store.write(record, failed)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for arguments, words in (
        ([str(untouched), "--merge", str(out)], "is the untouched base model: nothing was trained"),
        ([str(failed), "--merge", str(out)], "ended as diverged (nan)"),
        ([str(lora.folder), "--merge", str(tmp_path / "full")], "full exists; name a folder that is new or empty"),
        ([str(lora.folder), "--adapter", str(out), "--dtype", "float16"], "--dtype is for --merge"),
        ([str(tmp_path / "nothing"), "--merge", str(out)], "there is no file or folder"),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err
    assert not out.exists()


def test_a_base_that_has_changed_since_is_refused(trained: Callable[..., Finished], tmp_path: Path) -> None:
    lora = trained(EXPORTS["lora"][0])
    model = tmp_path / "model"
    shutil.copytree(lora.run.model.path, model)
    config = lora.record.config | {"model": lora.record.config["model"] | {"path": str(model), "content": "0" * 64}}
    shutil.copytree(lora.folder, tmp_path / "run")
    store.write(replace(lora.record, config=config), tmp_path / "run")
    with pytest.raises(ValueError, match=r"the files of its base model, .*, are no longer what they were"):
        finished(str(tmp_path / "run"))

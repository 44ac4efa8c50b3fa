"""Where `model.path` leads, and the exact words for a path that leads nowhere."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.config import Model
from bench.models import locate
from bench.models.locate import content, errors, resolve, resolve_tokenizer


@pytest.mark.parametrize("path", ["gpt2", "meta-llama/Llama-3.2-1B", "nobody/no-such.model_1"])
def test_a_hub_id_is_left_to_transformers(path: str):
    assert resolve(path) == path


@pytest.mark.parametrize("path", ["./nope", "../nope", "/no/such/folder", "~/no-such-folder", "a/b/c", ".", ""])
def test_a_folder_that_is_no_model_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^model\.path: "):
        resolve(path)


def test_the_message_for_a_missing_folder():
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        resolve("./nope")
    assert str(caught.value) == "model.path: there is no folder ./nope"


def test_a_folder_without_a_model_is_named(tmp_path: Path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        resolve(str(tmp_path))
    assert str(caught.value) == f"model.path: {tmp_path} holds no model, its config.json is missing"


def test_a_folder_wins_over_a_hub_id_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert resolve("gpt2") == "gpt2"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/gpt2") == str(tmp_path / "gpt2")


def test_embedded_models_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "tiny-bear").mkdir()
    (tmp_path / "tiny-bear" / "config.json").write_text("{}")
    monkeypatch.setattr(locate, "EMBEDDED", tmp_path)
    assert locate.embedded() == ["tiny-bear"]
    assert resolve("embedded:tiny-bear") == str(tmp_path / "tiny-bear")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        resolve("embedded:tiny-baer")
    assert str(caught.value) == "model.path: there is no embedded model 'tiny-baer'; did you mean 'tiny-bear'?"


def test_a_tokenizer_s_folder_needs_no_model(tmp_path: Path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        resolve_tokenizer(str(tmp_path))
    assert str(caught.value) == f"model.tokenizer: {tmp_path} holds no tokenizer, its tokenizer_config.json is missing"
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert resolve_tokenizer(str(tmp_path)) == str(tmp_path)
    assert resolve_tokenizer("openai-community/gpt2") == "openai-community/gpt2"
    with pytest.raises(ValueError, match=r"^model\.tokenizer: there is no folder \./nope$"):
        resolve_tokenizer("./nope")


@pytest.mark.parametrize(
    "file", ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model", "qwen.tiktoken"]
)
def test_a_model_s_folder_has_the_tokenizer_too_unless_another_is_named(file: str, tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    model = Model(path=str(folder))
    assert errors(model) == [f"model.path: {folder} holds no tokenizer; name one with model.tokenizer"]
    assert errors(replace(model, tokenizer="org/name")) == []
    assert errors(replace(model, weights="random", architecture={"model_type": "gpt2"})) == []
    (folder / file).touch()
    assert errors(model) == []


def test_both_places_are_checked_at_once():
    assert errors(Model(path="./model", tokenizer="./words")) == [
        "model.path: there is no folder ./model",
        "model.tokenizer: there is no folder ./words",
    ]
    assert errors(Model(path="")) == []  # Model.errors() names it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with its tokenizer, and files that make no difference to it."""
    (tmp_path / "checkpoint-9").mkdir()
    names = ("config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt", "README.md", "training.log")
    for name in (*names, "checkpoint-9/model.safetensors"):
        (tmp_path / name).write_text("1")
    return tmp_path


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_local_model_with_another_file_is_another_model(file: str, folder: Path):
    model = Model(path=str(folder))
    before = content(model)
    assert len(before) == 64
    (folder / file).write_text("2")
    changed = content(model)
    assert changed != before
    (folder / file).write_text("1")
    assert content(model) == before
    (folder / "vocab.txt").rename(folder / "merges.txt")
    assert content(model) not in (before, changed)


@pytest.mark.parametrize("file", ["README.md", "training.log", "checkpoint-9/model.safetensors"])
def test_what_is_not_read_of_a_local_model_does_not_count(file: str, folder: Path):
    before = content(Model(path=str(folder)))
    (folder / file).write_text("2")
    assert content(Model(path=str(folder))) == before


def test_weights_count_only_where_they_are_read(folder: Path):
    used = Model(path="embedded:tiny-llama", tokenizer=str(folder))
    random = Model(path=str(folder), weights="random")
    before = [content(model) for model in (used, random)]
    assert len({content(Model(path=str(folder))), *before}) == 3
    (folder / "model.safetensors").write_text("2")
    assert [content(model) for model in (used, random)] == before
    (folder / "vocab.txt").write_text("2")
    assert not {content(model) for model in (used, random)} & set(before)


@pytest.mark.parametrize(
    "model",
    [
        Model(),
        Model(path="org/name", tokenizer="org/other"),
        Model(path="./nowhere", weights="random", architecture={"model_type": "gpt2"}),
    ],
)
def test_a_model_without_local_files_has_no_content(model: Model):
    assert content(model) == ""


def test_a_large_file_is_hashed_once_for_a_sweep(folder: Path, monkeypatch: pytest.MonkeyPatch):
    hashed: list[str] = []
    monkeypatch.setattr(locate, "sha256", lambda path: hashed.append(path.name) or "hash")
    for _ in range(3):
        content(Model(path=str(folder)))
    assert sorted(hashed) == ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]

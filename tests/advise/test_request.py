"""What is asked of the advisor: models from folders and the Hub, and wrong input of every kind."""

from pathlib import Path
from unittest.mock import Mock

import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RemoteEntryNotFoundError, RepositoryNotFoundError

from bench.advise import quality
from tests.advise.conftest import ASK, Ask, FakeTracer, answer


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["--model", "llama-3.1-8", "--gpu", "t4"],
            "there is no model and no folder 'llama-3.1-8'; did you mean",
        ),
        (["--model", "./nowhere", "--gpu", "t4"], "there is no folder ./nowhere"),
        (["--model", "", "--gpu", "t4"], "--model must name a model or a folder, got ''; `tunebench models` lists"),
        (["--model", "gpt2", "--gpu", "rtx-9999"], "there is no 'rtx-9999'"),
        (
            ["--model", "gpt2", "--gpu", "t4", "--seq", "1025"],
            "--seq must be at most 1,024, the positions that gpt2",
        ),
        (["--model", "gpt2", "--gpu", "t4", "--task", "clasification"], "did you mean 'classification'?"),
        (["--model", "gpt2", "--gpu", "t4", "--method", "lorra"], "did you mean 'lora'?"),
        (["--model", "gpt2", "--gpu", "t4", "--method", "dpo"], "add --objective dpo"),
        (["--model", "gpt2", "--gpu", "t4", "--method", "kto-qlora"], "add --objective kto"),
        (["--model", "gpt2", "--gpu", "t4", "--task", "gsm8k", "--objective", "dpo"], "task=gsm8k has none"),
        (["--model", "gpt2", "--gpu", "t4", "--task", "gsm8k", "--objective", "orpo"], "task=gsm8k has none"),
        (["--model", "gpt2", "--gpu", "t4", "--batch", "3"], "--batch times --gpus must divide the 16 examples"),
        (["--model", "gpt2", "--gpu", "t4", "--gpus", "3"], "--gpus must divide the 16 examples"),
        (["--model", "gpt2", "--gpu", "t4", "--mean-tokens", "9999"], "--mean-tokens must be at most --seq"),
        (["--model", "gpt2", "--gpu", "t4", "no/such/folder"], "there is no file or folder no/such/folder"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(ask: Ask, arguments: list[str], complaint: str):
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("tunebench advise: ")
    assert complaint in err
    assert "Traceback" not in err


@pytest.mark.parametrize("wrong", [["--gpus", "0"], ["--hours", "-1"], ["--max-checkpoint", "12 apples"], ["--gpu"]])
def test_wrong_values_of_options_are_refused(ask: Ask, wrong: list[str]):
    with pytest.raises(SystemExit) as caught:
        ask("--model", "gpt2", *wrong)
    assert caught.value.code == 2


def test_a_hub_model_without_a_network_is_a_clear_error(ask: Ask, monkeypatch: pytest.MonkeyPatch):
    asked: list[float] = []

    def offline(url: str, timeout: float) -> None:
        assert url.endswith("/nobody/nothing/resolve/main/config.json")
        asked.append(timeout)
        raise TimeoutError("no connection.")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", offline)
    code, out, err = ask("--model", "nobody/nothing", "--gpu", "t4")
    assert (code, out) == (2, "")
    said = "config.json cannot be had from the Hugging Face Hub: it cannot be reached (no connection). A folder with"
    assert said in err
    assert asked == [5.0]  # seconds; and once


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RepositoryNotFoundError, "there is no such model, or it is private"),
        (GatedRepoError, "it is gated: ask for access on its page, then `hf auth login`"),
        (RemoteEntryNotFoundError, "the model has none"),
    ],
)
def test_what_the_hub_says_of_a_model_is_said_in_words(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, error: type[HfHubHTTPError], reason: str
):
    def refuse(*_: object, **__: object) -> None:
        raise error("404 Client Error. (Request ID: 1)", response=Mock())

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    assert f"from the Hugging Face Hub: {reason}. A folder" in ask("--model", "nobody/nothing", "--gpu", "t4")[2]


def test_a_model_whose_configuration_was_fetched_before_needs_no_network(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    kept = tmp_path / "config.json"
    kept.write_text('{"model_type": "gpt2", "n_positions": 256}')
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda name, file: str(kept))
    found = answer(ask, "--model", "nobody/nothing", "--gpu", "t4", "--seq", "256")
    assert "model=hub model.path=nobody/nothing model.name=nothing" in found["recommendation"]["command"]
    assert "at most 256" in ask("--model", "nobody/nothing", "--gpu", "t4", "--seq", "257")[2]


def test_no_gpu_here_and_none_named(ask: Ask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.advise.cards.here", lambda device="cuda": None)
    code, _, err = ask("--model", "gpt2")
    assert code == 2
    assert "--gpu must be given: this machine has no NVIDIA GPU" in err


def test_a_folder_with_a_configuration_is_a_model(ask: Ask, tmp_path: Path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gpt2", "n_positions": 256}')
    found = answer(ask, "--model", "./mine", "--gpu", "t4", "--seq", "256")
    assert "model=hub model.path=mine model.name=mine" in found["recommendation"]["command"]
    assert "at most 256" in ask("--model", "./mine", "--gpu", "t4", "--seq", "257")[2]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{}", "--model: the config.json of mine has no model_type, which names the architecture"),
        ('{"model_type": ', "--model: mine/config.json is not valid JSON: "),
        ("[]", "--model: mine/config.json must hold keys with values, and holds list"),
    ],
)
def test_a_configuration_that_says_nothing_is_refused_before_anything_is_traced(
    ask: Ask, tracer: FakeTracer, tmp_path: Path, content: str, complaint: str
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(content)
    code, out, err = ask("--model", "./mine", "--gpu", "t4")
    assert (code, out, tracer.asked) == (2, "", [])
    assert err.startswith(f"tunebench advise: {complaint}")


def test_methods_of_which_nothing_is_known_are_looked_at_when_asked_for(ask: Ask, monkeypatch: pytest.MonkeyPatch):
    published = {"ranks": [["full"], ["qlora"]], "because": ["so"], "source": "somewhere", "called": {}}
    monkeypatch.setattr(quality, "_published", lambda: published)
    usual = answer(ask, *ASK)
    assert {each["method"] for each in usual["candidates"]} == {"full", "qlora"}
    assert {"lora", "prefix", "prompt", "ptuning"} <= set(usual["left_out"])
    assert "(--all does it): " in " ".join(ask(*ASK)[1].split())
    every = answer(ask, *ASK, "--all")
    assert {"full", "qlora", "lora", "prefix"} <= {each["method"] for each in every["candidates"]}
    assert every["left_out"] == []
    assert {each["method"] for each in answer(ask, *ASK, "--method", "lora")["candidates"]} == {"lora"}

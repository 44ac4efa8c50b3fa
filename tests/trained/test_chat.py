"""`tunebench chat`: prompts as in training, answers as in evaluation, and a conversation's ways."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.chat import main
from bench.config import Data, Task
from bench.data import tasks
from bench.data.example import Message
from bench.data.tokens import tokenise
from bench.evaluate.batches import Room
from bench.evaluate.generate import generate
from bench.models import load
from bench.trained.find import Finished
from bench.trained.frame import Frame, around, frame_of, tokens
from bench.trained.model import base, tuned
from bench.trained.talk import Speaker, _Pieces, speakers
from methods.full import Full
from methods.lora import Lora
from tests.trained.conftest import RATE, TASK

ROOT = Path(__file__).resolve().parents[2]
LORA = Lora(learning_rate=RATE)


def user(text: str, system: str = "") -> tuple[Message, ...]:
    return (*((Message("system", system),) if system else ()), Message("user", text))


@pytest.mark.parametrize(
    ("prompts", "frame"),
    [
        (["Question: 1 + 2\nAnswer:", "Question: 12 + 3\nAnswer:"], Frame("Question: ", "\nAnswer:")),
        (["Sort this: bad", "Sort this: big"], Frame("Sort this: ")),  # without the letter that both begin with
        (["What is it?", "Where is it?"], Frame("", " is it?")),
        (["Why?", "Where?"], Frame()),
        (["the same", "the same"], Frame()),
        ([user("a"), user("b")], Frame(conversation=True)),
        ([user("a", "Be kind."), user("b", "Be kind.")], Frame(conversation=True, system="Be kind.")),
        ([user("a", "Be kind."), user("b", "Be short.")], Frame(conversation=True)),
    ],
)
def test_the_frame_is_what_all_prompts_share(prompts: list[Any], frame: Frame):
    assert around(prompts) == frame


def test_a_typed_text_becomes_the_very_prompt_of_the_training(trained: Callable[..., Finished]):
    run = trained(LORA).run
    run = replace(run, task=replace(run.task, max_length=512))
    frame = frame_of(run)
    example = tasks.load(run.task, run.data).validation[0]
    inner = str(example.prompt).removeprefix(frame.before).removesuffix(frame.after)
    assert inner != example.prompt
    assert frame.prompt(inner) == example.prompt
    _, tokenizer = base(run, "cpu", torch.float32)
    [expected] = tokenise([example], tokenizer, run.task.max_length)
    assert tokens(frame.prompt(inner), tokenizer, run, "causal") == expected.prompt


def test_a_conversation_is_written_in_the_run_s_template(trained: Callable[..., Finished]):
    run = trained(LORA).run
    run = replace(run, data=Data(template="chatml"), task=replace(run.task, max_length=512))
    _, tokenizer = base(run, "cpu", torch.float32)
    frame = Frame(conversation=True, system="Be kind.")
    history = [Message("user", "One?"), Message("assistant", "Two.")]
    text = tokenizer.decode(tokens(frame.prompt("Three?", history), tokenizer, run, "causal"), skip_special_tokens=True)
    assert text == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nOne?<|im_end|>\n"
        "<|im_start|>assistant\nTwo.<|im_end|>\n"
        "<|im_start|>user\nThree?<|im_end|>\n<|im_start|>assistant\n"
    )


def answers(speaker: Speaker, text: str, **more: Any) -> str:
    said: list[str] = []
    whole = speaker.answer(text, said.append, **more)
    assert "".join(said) == whole
    return whole


@pytest.mark.parametrize("method", [LORA, Full()], ids=lambda m: m.title())
def test_base_and_tuned_answer_as_the_evaluation_has_them_answer(method: Any, trained: Callable[..., Finished]):
    found = trained(method)
    before, after = speakers(found, "cpu", frame_of(found.run))
    assert (before.label, after.label) == ("base", "tuned")
    # one that is not cut to the task's length, where the evaluation leaves room for the right answer
    example = min(tasks.load(TASK).validation, key=lambda each: len(each.prompt) + len(each.completion))
    inner = str(example.prompt).removeprefix(before.frame.before).removesuffix(before.frame.after)
    for speaker, (model, tokenizer) in (
        (before, base(found.run, "cpu", torch.float32)),
        (after, tuned(found, "cpu", torch.float32)),
    ):
        [prompt] = tokenise([example], tokenizer, TASK.max_length)
        longer = replace(TASK, max_new_tokens=12)
        [expected] = generate(model.eval(), tokenizer, [prompt.prompt], longer, Room(1))
        assert answers(speaker, inner, new_tokens=12) == expected
    assert answers(before, inner, new_tokens=12) != answers(after, inner, new_tokens=12)
    [alone] = speakers(found, "cpu", frame_of(found.run), with_base=False)
    assert answers(alone, inner, new_tokens=12) == answers(after, inner, new_tokens=12)


def test_an_adapter_shares_the_base_s_weights_and_a_model_does_not(trained: Callable[..., Finished]):
    one, two = speakers(trained(LORA), "cpu", Frame())
    assert one.model is two.model
    one, two = speakers(trained(Full()), "cpu", Frame())
    assert one.model is not two.model


def test_each_speaker_remembers_its_own_conversation_alone(trained: Callable[..., Finished]):
    one, two = speakers(trained(LORA), "cpu", Frame(conversation=True))
    said = answers(one, "Open the file.")
    assert one.history == [Message("user", "Open the file."), Message("assistant", said)]
    assert two.history == []
    [plain] = speakers(trained(LORA), "cpu", Frame(), with_base=False)
    answers(plain, "Open the file.")
    assert plain.history == []


def test_temperature_draws_and_the_seed_repeats(trained: Callable[..., Finished]):
    [speaker] = speakers(trained(LORA), "cpu", Frame(), with_base=False)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(answers(speaker, "Open", temperature=5.0, new_tokens=12))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("pieces", "stops", "said"),
    [
        (["one ", "two STOP", " three"], ["STOP"], "one two "),
        (["one S", "TOP two"], ["STOP"], "one "),
        (["one S", "o two"], ["STOP"], "one So two"),
        (["one ", "two"], [], "one two"),
    ],
)
def test_a_stop_text_is_never_shown(pieces: list[str], stops: list[str], said: str, trained: Callable[..., Finished]):
    _, tokenizer = base(trained(LORA).run, "cpu", torch.float32)
    heard: list[str] = []
    streamer = _Pieces(tokenizer, heard.append, stops)
    for piece in pieces:
        streamer.on_finalized_text(piece)
    streamer.on_finalized_text("", stream_end=True)
    assert "".join(heard) == streamer.text == said


def typed(folder: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "160", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "bench", "chat", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, **more)


def test_every_line_of_a_pipe_is_a_prompt(trained: Callable[..., Finished], tmp_path: Path):
    folder = str(trained(LORA).folder)
    lines = "3 + 4\n\n/reset\n/rest\nfirst\\nsecond\n/quit\nnever\n"
    done = typed(tmp_path, folder, "--max-new-tokens", "2", input=lines)
    assert done.returncode == 0, done.stderr
    shown = [line for line in done.stdout.splitlines() if line.startswith(("> ", "base:", "tuned:", "forg", "there"))]
    assert shown[0] == "> 3 + 4"
    assert [line.split(":")[0] for line in shown[1:3]] == ["base", "tuned"]
    assert shown[3:7] == ["> /reset", "forgotten", "> /rest", "there is no command /rest; did you mean '/reset'?"]
    assert shown[7] == "> first\\nsecond"
    assert "never" not in done.stdout
    assert "each prompt alone, as in training: " in done.stderr


@pytest.mark.slow
def test_at_a_terminal_ctrl_d_ends_it(trained: Callable[..., Finished]):
    command = [sys.executable, "-m", "bench", "chat", str(trained(LORA).folder), "--raw", "--max-new-tokens", "3"]
    leader, follower = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "dumb"}
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, cwd=ROOT, env=environment)
    os.close(follower)
    try:
        _until(leader, b"> ")
        os.write(leader, b"Open the file\n")
        assert b"base:" in _until(leader, b"tuned:")
        _until(leader, b"> ")
        os.write(leader, b"\x04")
        assert process.wait(30) == 0
    finally:
        process.kill()
        os.close(leader)


def _until(terminal: int, words: bytes, seconds: float = 90.0) -> bytes:
    """What the terminal shows until these words are there."""
    seen, end = b"", time.monotonic() + seconds
    while words not in seen:
        assert time.monotonic() < end, seen
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 4096)
    return seen


def test_an_answer_that_is_interrupted_is_left_and_the_chat_goes_on(
    trained: Callable[..., Finished],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    calls = []

    def answer(self: Speaker, text: str, say: Any, *more: Any) -> str:
        calls.append((self.label, text))
        say("so far")
        if len(calls) == 1:
            raise KeyboardInterrupt
        return "so far"

    monkeypatch.setattr(Speaker, "answer", answer)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    lines = iter(["one", "two"])
    monkeypatch.setattr("bench.chat._lines", lambda: lines)
    assert main([str(trained(LORA).folder), "--raw"]) == 0
    assert calls == [("base", "one"), ("tuned", "one"), ("base", "two"), ("tuned", "two")]
    assert "base: so far [stopped]\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--temperature", "-1"], "must be >= 0, got -1"), (["--max-new-tokens", "0"], "must be >= 1, got 0")],
)
def test_values_that_cannot_be_are_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["run", *words])
    assert said in capsys.readouterr().err


def test_a_classifier_gives_no_text(trained: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch, capsys: Any):
    found = trained(LORA)
    real = load.info
    monkeypatch.setattr(load, "info", lambda *args: replace(real(*args), kind="classifier"))
    assert main([str(found.folder), "--raw"]) == 2
    assert "tiny is a classifier: it gives a class, and no text to talk with" in capsys.readouterr().err


def test_data_that_is_gone_is_said(trained: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch, capsys: Any):
    def gone(task: Task, data: Data) -> Any:
        raise ValueError("data.train: there is no file x")

    monkeypatch.setattr(tasks, "load", gone)
    assert main([str(trained(LORA).folder)]) == 2
    assert capsys.readouterr().err.endswith(
        "tunebench chat: data.train: there is no file x; with --raw the data are not needed\n"
    )

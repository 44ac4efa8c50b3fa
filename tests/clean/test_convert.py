"""`tunebench data convert` as a user types it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clean.conftest import FILES, ROWS, Command, rows


@pytest.mark.parametrize("to", ["messages", "sharegpt", "alpaca", "prompt_completion"])
def test_convert_there_and_back(to: str, alpaca: Path, tmp_path: Path, command: Command):
    there, back = tmp_path / "there.jsonl", tmp_path / "back.jsonl"
    code, told, _ = command("convert", alpaca, "--to", to, "--out", there)
    assert (code, told) == (0, f"6 rows in {there}\n")
    assert command("convert", there, "--to", "alpaca", "--out", back)[0] == 0
    assert [(row["instruction"], row["output"]) for row in rows(back)] == [
        (row["instruction"], row["output"].strip()) for row in ROWS
    ]


def test_convert_keeps_system_prompts_and_history_or_refuses(tmp_path: Path, command: Command):
    own = tmp_path / "own.jsonl"
    row = {"instruction": "And two?", "output": "Three.", "system": "Count.", "history": [["One?", "Two."]]}
    own.write_text(json.dumps(row))
    there, back = tmp_path / "there.jsonl", tmp_path / "back.jsonl"
    command("convert", own, "--to", "messages", "--out", there)
    assert [m["role"] for m in rows(there)[0]["messages"]] == ["system", "user", "assistant", "user", "assistant"]
    command("convert", there, "--to", "alpaca", "--out", back)
    assert rows(back) == [{**row, "input": ""}]
    code, _, error = command("convert", own, "--to", "prompt_completion", "--out", tmp_path / "x.jsonl")
    assert code == 2
    assert error.endswith("expected what the format prompt_completion can say, found a conversation of several turns\n")


def test_every_conversation_of_a_text_file_is_a_row(tmp_path: Path, command: Command):
    out, own = tmp_path / "new.jsonl", FILES / "transcript.txt"
    conversations = [line for line in own.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(conversations) == 24
    assert command("convert", own, "--to", "messages", "--out", out)[1] == f"24 rows in {out}\n"
    contents = [[message["content"] for message in row["messages"]] for row in rows(out)]
    assert all(said in line for turns, line in zip(contents, conversations, strict=True) for said in turns)
    command("clean", own, "--out", out, "--force", "--near", 0, "--personal", "keep", "--keep-repetition")
    assert [row["text"].strip() for row in rows(out)] == [line.strip() for line in conversations]
    found = json.loads(command("inspect", own, "--json")[1])
    assert (found["rows"], found["examples"]) == (24, 24)


def test_convert_splits_by_hash(tmp_path: Path, command: Command):
    own = tmp_path / "own.jsonl"
    own.write_text("\n".join(json.dumps({"prompt": f"q{i}", "completion": f"a{i}"}) for i in range(200)))
    code, told, _ = command("convert", own, "--to", "messages", "--out", tmp_path / "new.jsonl", "--split", "0.2,0.1")
    parts = {name: rows(tmp_path / f"new.{name}.jsonl") for name in ("train", "validation", "test")}
    assert code == 0
    assert sum(map(len, parts.values())) == 200
    assert 20 < len(parts["validation"]) < 60
    assert f"{len(parts['test'])} rows in {tmp_path / 'new.test.jsonl'}" in told


def test_convert_leaves_no_split_empty(tmp_path: Path, command: Command):
    own = tmp_path / "own.jsonl"

    def split(count: int, shares: str) -> tuple[int, str, str]:
        own.write_text("\n".join(json.dumps({"prompt": f"q{i}", "completion": f"a{i}"}) for i in range(count)))
        return command("convert", own, "--to", "messages", "--out", tmp_path / "new.jsonl", "--split", shares)

    train, validation, test = (tmp_path / f"new.{name}.jsonl" for name in ("train", "validation", "test"))
    message = "--split: too few different questions (2), the validation split would be empty\n"
    assert split(2, "0.01,0.01") == (2, "", message)
    assert split(3, "0.01,0") == (0, f"2 rows in {train}\n1 rows in {validation}\n", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.train.jsonl", "new.validation.jsonl", "own.jsonl"]
    train.unlink()
    validation.unlink()
    assert split(3, "0.01,0.01") == (0, f"1 rows in {train}\n1 rows in {validation}\n1 rows in {test}\n", "")


def conversation(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": role} for role in roles]}


@pytest.mark.parametrize(
    ("row", "to", "found"),
    [
        ({"text": "A night."}, "messages", "a text without a question"),
        ({"text": "A night."}, "alpaca", "a text without a question"),
        (conversation("user", "function_call", "tool", "assistant"), "alpaca", "an answer to a message of the tool"),
        (conversation("user", "assistant", "assistant"), "alpaca", "an answer to a message of the assistant"),
    ],
)
def test_convert_refuses_what_would_mean_something_else(
    row: dict[str, Any], to: str, found: str, tmp_path: Path, command: Command
):
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps(row))
    code, _, error = command("convert", own, "--to", to, "--out", tmp_path / "x.jsonl")
    assert (code, error) == (2, f"{own}, line 1: expected what the format {to} can say, found {found}\n")


THANKS = conversation("user", "assistant", "user")["messages"]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": THANKS},
        {"conversations": [{"from": turn["role"], "value": turn["content"]} for turn in THANKS]},
        {"prompt": "user", "completion": THANKS[1:]},
        {"text": "User: user</s> Assistant: assistant</s> User: user</s>"},
    ],
)
def test_convert_counts_the_turns_that_it_leaves_out(row: dict[str, Any], tmp_path: Path, command: Command):
    own, out = tmp_path / "own.jsonl", tmp_path / "new.jsonl"
    own.write_text(json.dumps(row))
    told = f"1 rows in {out}\n1 rows without the turns after their last answer\n"
    assert command("convert", own, "--to", "messages", "--out", out) == (0, told, "")
    assert rows(out) == [{"messages": THANKS[:2]}]

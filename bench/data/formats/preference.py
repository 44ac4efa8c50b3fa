"""Preference pairs: a prompt with a better and a worse answer, as texts, message lists or transcripts."""

from typing import Any

from bench.data.example import Example, Message
from bench.data.formats.conversations import is_transcript, messages, transcript_messages
from bench.data.formats.fields import found, key, present, short, shown, text
from bench.data.rows import Row
from bench.data.templates import spaced

Prompt = str | tuple[Message, ...]


def preference(row: Row, turns: str) -> list[Example]:
    """`chosen` and `rejected`, and perhaps `prompt`; of a conversation the last answer alone is a pair.

    Texts stay as they are. In message lists and transcripts the prompt may be what both begin with, in place of a
    field `prompt` or beside it.
    """
    prompt = _prompt(row)
    sides = [present(row, field, "an answer, or messages that end with it") for field in ("chosen", "rejected")]
    if any(isinstance(side, list) for side in sides) or (not prompt and all(is_transcript(side) for side in sides)):
        prompt, chosen, rejected = _from_messages(row, prompt, *sides)
    else:
        chosen, rejected = text(row, "chosen"), text(row, "rejected")
        if not prompt:
            raise row.error("a prompt, or transcripts or messages that hold it", found(row, "prompt"), "prompt")
    if chosen.strip() == rejected.strip():
        raise row.error("another answer than in 'chosen'", f"the same: {short(rejected)}", "rejected")
    if isinstance(prompt, str):
        chosen, rejected = spaced(prompt, chosen), spaced(prompt, rejected)
    return [Example(key(row), prompt, chosen, rejected)]


def _prompt(row: Row) -> Prompt:
    value = row.fields.get("prompt")
    if value is None or value == "":
        return ""
    return tuple(messages(row, "prompt", value)) if isinstance(value, list) else text(row, "prompt")


def _from_messages(row: Row, prompt: Prompt, *sides: Any) -> tuple[tuple[Message, ...], str, str]:
    chosen, rejected = (_said(row, field, side) for field, side in zip(("chosen", "rejected"), sides, strict=True))
    common = 0
    while common < min(len(chosen), len(rejected)) - 1 and chosen[common] == rejected[common]:
        common += 1
    begin = tuple(chosen[:common])
    right, wrong = _answer(row, "chosen", chosen[common:]), _answer(row, "rejected", rejected[common:])
    if not begin:
        if not prompt:
            raise row.error("a prompt, or messages that both answers share", found(row, "prompt"), "prompt")
        return (Message("user", prompt),) if isinstance(prompt, str) else prompt, right, wrong
    if isinstance(prompt, str):
        agrees = not prompt or any(m.role == "user" and m.content.strip() == prompt.strip() for m in begin)
    else:
        agrees = begin[: len(prompt)] == prompt
    if not agrees:
        raise row.error("the messages that 'chosen' begins with", shown(row.fields["prompt"]), "prompt")
    return begin, right, wrong


def _said(row: Row, field: str, value: Any) -> list[Message]:
    if is_transcript(value):
        return transcript_messages(row, field, value)
    if isinstance(value, str):
        return [Message("assistant", text(row, field))]
    return messages(row, field, value)


def _answer(row: Row, field: str, rest: list[Message]) -> str:
    expected = "one answer of the assistant after what 'chosen' and 'rejected' have in common"
    if len(rest) != 1:
        raise row.error(expected, f"{len(rest)} messages", field)
    if rest[0].role != "assistant":
        raise row.error(expected, f"a message of the {rest[0].role}", field)
    return rest[0].content

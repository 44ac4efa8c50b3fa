"""Conversations: message lists of ShareGPT and OpenAI style, and flat transcripts, to one example an answer."""

import re
from collections.abc import Sequence
from typing import Any

from bench.data.example import Example, Message
from bench.data.formats.fields import key, nested_text, present, short, shown, system, text
from bench.data.rows import Row
from bench.method import did_you_mean

# Every name of a role that is in use, by the role it means. Data sets mix the two styles, so both read both.
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
_NAMES = {"conversations": ("from", "value")}  # how a turn calls its role and its content; else:
_USUAL = ("role", "content")

# A role in front of its turn. Where turns end with </s>, a role at the beginning of a line is part of a turn.
# The colon may be a full-width one; `### Human:` needs no line of its own.
_ROLE = r"(?:###\s*)?(System|SYSTEM|User|USER|Human|HUMAN|Assistant|ASSISTANT)\s*[:\uff1a]"
_AFTER_END = re.compile(rf"(?:\A|</s>)\s*(?:<s>\s*)?{_ROLE}", re.IGNORECASE)
_AFTER_LINE = re.compile(rf"(?:\A\s*(?:<s>\s*)?|\n[^\S\n]*|(?=###)){_ROLE}")

_TEXT_FILE = re.compile(r"\.txt(\.gz|\.zst)?$")
_LINE = re.compile(r"^[^\S\n]*\S.*$", re.MULTILINE)
_BLOCK = re.compile(r"^[^\S\n]*\S.*(?:\n[^\S\n]*\S.*)*", re.MULTILINE)


def sharegpt(row: Row, turns: str) -> list[Example]:
    """`conversations`: a list of {from, value}, and perhaps `system`."""
    return _from_field(row, "conversations", turns)


def openai(row: Row, turns: str) -> list[Example]:
    """`messages`: a list of {role, content}, and perhaps `system`."""
    return _from_field(row, "messages", turns)


def transcript(row: Row, turns: str) -> list[Example]:
    """`text`: a flat transcript (`User: ...</s> Assistant: ...</s>`)."""
    return answers(row, "text", transcript_messages(row, "text", text(row, "text")), turns)


def _from_field(row: Row, field: str, turns: str) -> list[Example]:
    said = messages(row, field, present(row, field, "a list of messages"))
    stated = system(row)
    if stated and said[:1] != list(stated):
        if any(m.role == "system" for m in said):
            raise row.error("one system prompt", f"another in {field!r}", "system")
        said = [*stated, *said]
    return answers(row, field, said, turns)


def messages(row: Row, field: str, value: Any) -> list[Message]:
    """A message list in canonical roles; a system prompt that is empty is none.

    Args:
        row: for errors.
        field: where the list is; it tells which names of role and content errors use.
        value: the list.

    Raises:
        DataError: something in it has the wrong shape, an unknown role or no text.
    """
    names = _NAMES.get(field, _USUAL)
    expected = f"a list of messages with {names[0]!r} and {names[1]!r}"
    if not isinstance(value, list) or not value:
        raise row.error(expected, shown(value), field)
    found = []
    for place, turn in enumerate(value):
        path = f"{field}[{place}]"
        if not isinstance(turn, dict):
            raise row.error(f"a message with {names[0]!r} and {names[1]!r}", shown(turn), path)
        role, content = (_part(row, path, turn, options) for options in zip(names, _other(names), strict=True))
        known = ROLES.get(role.lower()) if isinstance(role, str) else None
        if known is None:
            hint = did_you_mean(role, ROLES) if isinstance(role, str) else ""
            raise row.error("a role", shown(role) + hint, f"{path}.{names[0]}")
        message = Message(known, _content(row, f"{path}.{names[1]}", content, known))
        if message.role != "system" or message.content.strip():
            found.append(message)
    return found


def _other(names: tuple[str, str]) -> tuple[str, str]:
    return _USUAL if names != _USUAL else _NAMES["conversations"]


def _part(row: Row, path: str, turn: dict[str, Any], names: tuple[str, str]) -> Any:
    for name in names:
        if name in turn:
            return turn[name]
    raise row.error(f"{names[0]!r} in every message", shown(turn), path)


def _content(row: Row, path: str, value: Any, role: str) -> str:
    if isinstance(value, list):  # OpenAI's content parts
        parts = [part.get("text") if isinstance(part, dict) else None for part in value]
        if not all(isinstance(part, str) for part in parts):
            raise row.error("parts of type text", shown(value), path)
        value = "".join(str(part) for part in parts)
    if role in ("system", "tool") and isinstance(value, str):
        return value
    return nested_text(row, path, value)


def transcript_messages(row: Row, field: str, whole: str) -> list[Message]:
    """The messages of a flat transcript.

    Raises:
        DataError: it does not begin with a role, or a turn is empty.
    """
    said = _turns(whole)
    if not said:
        raise row.error("a transcript that begins with a role, such as 'User:'", short(whole), field)
    for role, content in said:
        if not content:
            raise row.error("a text after every role", f"an empty turn of the {role}", field)
    return [Message(role, content) for role, content in said]


def is_transcript(whole: Any) -> bool:
    """Whether a value is a flat transcript with a question and an answer."""
    return isinstance(whole, str) and {"user", "assistant"} <= {role for role, _ in _turns(whole)}


def conversations_of(row: Row) -> list[Row]:
    """A row for each conversation of a text file: one a line where turns end with </s>, else between blank lines.

    A text that does not fall apart into whole conversations in this way is a single one.
    """
    whole = row.fields.get("text")
    if not isinstance(whole, str) or not _TEXT_FILE.search(row.file):
        return [row]
    found = list((_LINE if "</s>" in whole else _BLOCK).finditer(whole))
    if not all(_begins(part[0]) for part in found):
        return [row]
    return [Row(row.file, row.line + whole.count("\n", 0, part.start()), {"text": part[0]}) for part in found]


def _begins(part: str) -> bool:
    said = [role for role, _ in _turns(part)]
    return len(said) > 1 and said[0] in ("system", "user")


def _turns(whole: str) -> list[tuple[str, str]]:
    """Roles and contents of a flat transcript; none if the text does not begin with a role."""
    marks = list((_AFTER_END if "</s>" in whole else _AFTER_LINE).finditer(whole))
    if not marks or whole[: marks[0].start()].strip():
        return []
    ends = [mark.start() for mark in marks[1:]] + [len(whole)]
    return [
        (ROLES[mark[1].lower()], whole[mark.end() : end].strip().removesuffix("</s>").strip())
        for mark, end in zip(marks, ends, strict=True)
    ]


def answers(row: Row, field: str, said: Sequence[Message], turns: str, first: int = 0) -> list[Example]:
    """Examples of a conversation: an answer, with everything before it as prompt.

    What follows the last answer is nobody's prompt and is not used.

    Args:
        row: where the conversation is from.
        field: for errors.
        said: the whole conversation.
        turns: `all` answers, or the `last`.
        first: the message from which on answers count.

    Raises:
        DataError: there is no answer, or one before anybody asked.
    """
    places = [i for i, message in enumerate(said) if message.role == "assistant" and i >= first]
    if not places:
        roles = ", ".join(dict.fromkeys(m.role for m in said[first:])) or "nobody"
        raise row.error("an answer of the assistant", f"messages of {roles} alone", field)
    if not any(m.role == "user" for m in said[: places[0]]):
        raise row.error("a message of the user before the first answer", "the answer first", field)
    found = [
        Example(key(row, k if len(places) > 1 else 0), tuple(said[:place]), said[place].content)
        for k, place in enumerate(places, start=1)
    ]
    return found if turns == "all" else found[-1:]


def unanswered(row: Row, format: str) -> bool:
    """Whether a conversation goes on after its last answer; no example has what follows."""
    if format == "transcript":
        return _turns(row.fields["text"])[-1][0] != "assistant"
    field = {"sharegpt": "conversations", "messages": "messages", "prompt_completion": "completion"}.get(format, "")
    said = row.fields.get(field)
    return isinstance(said, list) and messages(row, field, said)[-1].role != "assistant"

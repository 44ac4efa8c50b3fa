"""One row of a known format to canonical examples."""

from bench.data.example import Example, Message
from bench.data.formats import conversations
from bench.data.formats.fields import key, optional_text, present, shown, system, text
from bench.data.formats.preference import preference
from bench.data.rows import Row
from bench.data.templates import spaced


def alpaca(row: Row, turns: str) -> list[Example]:
    """`instruction` and `output`, and perhaps `input`, `system` and `history`: earlier [user, assistant] pairs."""
    given = optional_text(row, "input")
    question = optional_text(row, "instruction") if given else text(row, "instruction")
    asked = Message("user", "\n\n".join(part for part in (question, given) if part))
    said = [*system(row), *_history(row), asked, Message("assistant", text(row, "output"))]
    return conversations.answers(row, "output", said, turns)


def _history(row: Row) -> list[Message]:
    value = row.fields.get("history")
    if value is None or value == "":
        return []
    expected = "a list of [user, assistant] pairs of texts"
    if not isinstance(value, list):
        raise row.error(expected, shown(value), "history")
    found = []
    for place, pair in enumerate(value):
        texts = isinstance(pair, list | tuple) and all(isinstance(said, str) and said.strip() for said in pair)
        if not texts or len(pair) != 2:
            raise row.error(expected, shown(pair), f"history[{place}]")
        found += [Message("user", pair[0]), Message("assistant", pair[1])]
    return found


def prompt_completion(row: Row, turns: str) -> list[Example]:
    """`prompt` and `completion`: texts, which stay as they are, or message lists."""
    prompt, completion = (present(row, field, "a text or messages") for field in ("prompt", "completion"))
    if not isinstance(prompt, list) and not isinstance(completion, list):
        asked, answer = text(row, "prompt"), text(row, "completion")
        return [Example(key(row), asked, spaced(asked, answer))]
    before, after = (
        conversations.messages(row, field, value) if isinstance(value, list) else [Message(role, text(row, field))]
        for field, value, role in (("prompt", prompt, "user"), ("completion", completion, "assistant"))
    )
    return conversations.answers(row, "completion", before + after, turns, first=len(before))


def classification(row: Row, turns: str) -> list[Example]:
    """`text` and `label`."""
    label = present(row, "label", "a label")
    if isinstance(label, float) and label.is_integer():  # a column of whole numbers with gaps
        label = int(label)
    if not isinstance(label, str | int) or not str(label).strip():
        raise row.error("a label: a text, a whole number, true or false", shown(label), "label")
    return [Example(key(row), f"{text(row, 'text')}\n\nLabel:", f" {str(label).strip()}")]


def document(row: Row, turns: str) -> list[Example]:
    """`text` alone."""
    return [Example(key(row), "", text(row, "text"))]


_CONVERTERS = {
    "alpaca": alpaca,
    "sharegpt": conversations.sharegpt,
    "messages": conversations.openai,
    "prompt_completion": prompt_completion,
    "preference": preference,
    "classification": classification,
    "text": document,
    "transcript": conversations.transcript,
}


def convert(row: Row, format: str, turns: str = "all") -> list[Example]:
    """The examples of one row.

    Args:
        row: of somebody's data.
        format: one of `bench.config.task.FORMATS`.
        turns: of conversations: `all` makes an example of every answer, `last` of the last one.

    Raises:
        DataError: the row does not have the format; names field, what was expected and what was found. Places in
            lists count from 0, as in `messages[0].content`.
    """
    return _CONVERTERS[format](row, turns)

"""From any of the formats to one of them, through the canonical example; what cannot be said there is an error."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.clean.rows import Read, Rows
from bench.clean.write import ENDINGS, check, writer
from bench.config import Data
from bench.data.example import Example, Message
from bench.data.formats import unanswered
from bench.data.rows import DataError, Row
from bench.data.splits import key, splits_of


def convert(settings: Data, to: str, out: Path, split: str | None, force: bool) -> str:
    """Write all rows in another format, and tell how many.

    Args:
        settings: `train` is the location.
        to: the format.
        out: the new file; with a split, the name of the three files without their `.train` and so on.
        split: shares of validation and test, as `0.1,0.1`; None: one file.
        force: overwrite.

    Raises:
        ValueError: nothing was written: a row cannot be said in the other format, or a file is in the way.
    """
    shares = _shares(split)
    names = ("train", *(name for name, share in shares.items() if share))
    places = {name: _beside(out, name) for name in names} if shares else {"": out}
    for place in places.values():
        check(place, force)
    where = _splits(settings, shares, names) if shares else {}
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        files = {name: stack.enter_context(writer(place)) for name, place in places.items()}
        rows = Rows(settings)
        for item in rows:
            if isinstance(item, DataError):
                counts["skipped"] += 1
                continue
            name = where[key(item.examples[-1])] if shares else ""
            files[name].row(_fields(item, to))
            counts[name] += 1
            counts["cut"] += unanswered(item.row, rows.format)
    lines = [f"{counts[name]:,} rows in {place}" for name, place in places.items()]
    more = {"skipped": "rows skipped", "cut": "rows without the turns after their last answer"}
    return "\n".join([*lines, *(f"{counts[what]:,} {words}" for what, words in more.items() if counts[what])])


def _shares(split: str | None) -> dict[str, float]:
    if split is None:
        return {}
    parts = split.split(",")
    try:
        validation, test = (float(part) for part in parts)
    except ValueError:
        raise ValueError(f"--split must be two shares, as 0.1,0.1, got {split}") from None
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise ValueError(f"--split must be two shares >= 0 that are together < 1, got {split}")
    return {"validation": validation, "test": test}


def _splits(settings: Data, shares: dict[str, float], names: Sequence[str]) -> dict[str, str]:
    """The split of every question, known once all were seen, as a split that nothing falls into takes one."""
    keys = {key(item.examples[-1]) for item in Rows(settings) if isinstance(item, Read)}
    found = splits_of(keys, shares["validation"], shares["test"])
    empty = [name for name in names if name not in found.values()]
    if empty and keys:
        raise ValueError(f"--split: too few different questions ({len(keys)}), the {empty[0]} split would be empty")
    return found


def _beside(out: Path, name: str) -> Path:
    ending = next((ending for ending in ENDINGS if out.name.endswith(ending)), out.suffix)
    return out.with_name(f"{out.name.removesuffix(ending)}.{name}{ending}")


def _fields(item: Read, to: str) -> dict[str, Any]:
    example = item.examples[-1]
    if not example.prompt and to != "text":
        raise _cannot(item.row, to, "a text without a question")
    if example.rejected is not None and to != "preference":
        raise _cannot(item.row, to, "a rejected answer")
    if to == "messages":
        turns = [*_messages(example), Message("assistant", example.completion.strip())]
        return {"messages": [{"role": m.role, "content": m.content} for m in turns]}
    if to == "sharegpt":
        names = {"user": "human", "assistant": "gpt"}
        turns = [*_messages(example), Message("assistant", example.completion.strip())]
        return {"conversations": [{"from": names.get(m.role, m.role), "value": m.content} for m in turns]}
    if to == "preference":
        return _preference(item.row, example)
    if to == "alpaca":
        return _alpaca(item.row, example)
    if to == "text":
        if example.prompt:
            raise _cannot(item.row, to, "a question")
        return {"text": example.completion}
    if not isinstance(example.prompt, str):
        if len(example.prompt) > 1:
            raise _cannot(item.row, to, "a conversation of several turns")
        example = Example(example.id, example.prompt[0].content, example.completion)
    if to == "prompt_completion":
        return {"prompt": example.prompt, "completion": example.completion}
    text = str(example.prompt)
    if not text.endswith("\n\nLabel:"):
        raise _cannot(item.row, to, "an answer that is no label")
    return {"text": text.removesuffix("\n\nLabel:"), "label": example.completion.strip()}


def _messages(example: Example) -> tuple[Message, ...]:
    return (Message("user", example.prompt),) if isinstance(example.prompt, str) else example.prompt


def _preference(row: Row, example: Example) -> dict[str, Any]:
    if example.rejected is None:
        raise _cannot(row, "preference", "no rejected answer")
    if isinstance(example.prompt, str):
        return {"prompt": example.prompt, "chosen": example.completion, "rejected": example.rejected}

    def answer(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    asked = [{"role": m.role, "content": m.content} for m in example.prompt]
    return {"prompt": asked, "chosen": answer(example.completion), "rejected": answer(example.rejected)}


def _alpaca(row: Row, example: Example) -> dict[str, Any]:
    messages = list(_messages(example))
    system = messages.pop(0).content if messages[0].role == "system" else ""
    question = messages.pop()
    if question.role != "user":
        raise _cannot(row, "alpaca", f"an answer to a message of the {question.role}")
    pairs = list(zip(messages[::2], messages[1::2], strict=False))
    if len(messages) % 2 or any((a.role, b.role) != ("user", "assistant") for a, b in pairs):
        raise _cannot(row, "alpaca", "turns that are not question and answer by turns")
    found: dict[str, Any] = {"instruction": question.content, "input": "", "output": example.completion.strip()}
    if system:
        found["system"] = system
    if pairs:
        found["history"] = [[a.content, b.content] for a, b in pairs]
    return found


def _cannot(row: Row, to: str, what: str) -> DataError:
    return row.error(f"what the format {to} can say", what)

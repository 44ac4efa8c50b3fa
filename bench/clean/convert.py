"""From any of the formats to one of them, through the canonical example; what cannot be said there is an error."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.clean.rows import Read, Rows
from bench.clean.write import ENDINGS, check, writer
from bench.config import Data
from bench.data.example import Example, Message
from bench.data.rows import DataError, Row
from bench.data.splits import key, split_of


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
    places = {name: _beside(out, name) for name in ("train", "validation", "test")} if shares else {"": out}
    for place in places.values():
        check(place, force)
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        files = {name: stack.enter_context(writer(place)) for name, place in places.items()}
        for item in Rows(settings):
            if isinstance(item, DataError):
                if settings.on_error == "stop":
                    raise item
                counts["skipped"] += 1
                continue
            name = split_of(key(item.examples[-1]), *shares) if shares else ""
            files[name].row(_fields(item, to))
            counts[name] += 1
    lines = [f"{counts[name]:,} rows in {place}" for name, place in places.items()]
    return "\n".join([*lines, *([f"{counts['skipped']:,} rows skipped"] if counts["skipped"] else [])])


def _shares(split: str | None) -> tuple[float, float] | None:
    if split is None:
        return None
    parts = split.split(",")
    try:
        validation, test = (float(part) for part in parts)
    except ValueError:
        raise ValueError(f"--split must be two shares, as 0.1,0.1, got {split}") from None
    if min(validation, test) < 0 or validation + test >= 1:
        raise ValueError(f"--split must be two shares >= 0 that are together < 1, got {split}")
    return validation, test


def _beside(out: Path, name: str) -> Path:
    ending = next((ending for ending in ENDINGS if out.name.endswith(ending)), out.suffix)
    return out.with_name(f"{out.name.removesuffix(ending)}.{name}{ending}")


def _fields(item: Read, to: str) -> dict[str, Any]:
    example = item.examples[-1]
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
    question = messages.pop().content
    pairs = list(zip(messages[::2], messages[1::2], strict=False))
    if len(messages) % 2 or any((a.role, b.role) != ("user", "assistant") for a, b in pairs):
        raise _cannot(row, "alpaca", "turns that are not question and answer by turns")
    found: dict[str, Any] = {"instruction": question, "input": "", "output": example.completion.strip()}
    if system:
        found["system"] = system
    if pairs:
        found["history"] = [[a.content, b.content] for a, b in pairs]
    return found


def _cannot(row: Row, to: str, what: str) -> DataError:
    return row.error(f"what the format {to} can say", what)

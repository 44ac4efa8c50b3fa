"""The last step before tokens: examples as the model at hand reads them, and the general text."""

from dataclasses import replace
from typing import Any

from bench.config import Data, Task
from bench.data import chat, sources, stdlib
from bench.data.chunks import chunk
from bench.data.example import TaskData
from bench.data.rows import DataError
from bench.data.spool import spool


def prepare(data: TaskData, tokenizer: Any, task: Task, settings: Data) -> TaskData:
    """Conversations written in the chat template, and documents cut into pieces of the task's length.

    Raises:
        ValueError: the chat template refuses a conversation.
    """
    if data.kind == "text":
        # held-out text is cut without overlap, so that every token counts once
        return data.each_split(
            lambda name, part: spool(chunk(part, tokenizer, task.max_length, settings.stride if name == "train" else 0))
        )
    written = data.each_split(lambda _, part: spool(chat.render(part, tokenizer, settings.template)))
    if data.choices and not isinstance(data.train[0].prompt, str):
        # the answers of conversations end as the template ends a turn, and so do the choices among them
        each = [replace(data.train[0], completion=choice, rejected=None) for choice in data.choices]
        ended = chat.render(each, tokenizer, settings.template)
        return replace(written, choices=tuple(example.completion for example in ended))
    return written


def general_text(settings: Data) -> str:
    """The text on which forgetting is measured: every text of `data.general`, or held-out text of the standard library.

    Raises:
        DataError: a row of `data.general` has no text.
    """
    if not settings.general:
        return stdlib.general_text()
    texts = []
    for row in sources.rows(settings.general, settings):
        if isinstance(row, DataError):
            raise row
        if not isinstance(row.fields.get("text"), str):
            raise row.error("a text", f"the fields {', '.join(row.fields)}", field="text")
        texts.append(row.fields["text"])
    return "\n\n".join(texts)

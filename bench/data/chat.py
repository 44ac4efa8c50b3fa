"""Conversations written as text in a chat template: the tokenizer's own, or one that comes with tunebench.

What the template writes in front of the answer is the prompt, and the answer with the template's end of turn is the
completion, so a model learns to end its turns as its template has it. `bench.data.tokens` adds the begin and the end
token, which are therefore cut here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bench.data.example import Example, Message
from bench.data.spool import conversational

DEFAULT = "plain"  # where the tokenizer has no template
TEMPLATES = Path(__file__).parent / "chat_templates"


def render(examples: Sequence[Example], tokenizer: Any, template: str = "auto") -> Iterable[Example]:
    """The examples with conversations as text; a prompt that is text already stays as it is.

    References that are empty become the bare answer, which metrics compare with.

    Args:
        examples: of one split.
        tokenizer: of the base model.
        template: `auto`: the tokenizer's own, or `plain` where it has none; else a file of `chat_templates/`.

    Raises:
        ValueError: the template refuses a conversation, or is itself wrong.
    """
    if not conversational(examples):
        return examples
    writer = _Writer(tokenizer, template)
    return (e if isinstance(e.prompt, str) else writer.example(e, e.prompt) for e in examples)


def other_template(tokenizer: Any, template: str = "auto") -> str | None:
    """The template that `render` writes with, where it is not the tokenizer's own."""
    own, name = _choice(tokenizer, template)
    return None if own else _named(name)


def _choice(tokenizer: Any, template: str) -> tuple[bool, str]:
    """Whether the tokenizer's own template is meant, and the name of the one that is meant else."""
    return template == "auto" and bool(tokenizer.chat_template), DEFAULT if template == "auto" else template


class _Writer:
    """Writes conversations in one template."""

    def __init__(self, tokenizer: Any, template: str) -> None:
        self._tokenizer = tokenizer
        own, name = _choice(tokenizer, template)
        self._source = _with_fixed_date(_own(tokenizer)) if own else _named(name)
        self._called = "the tokenizer's chat template" if own else f"the chat template {name!r}"

    def example(self, example: Example, messages: tuple[Message, ...]) -> Example:
        """The example as text."""
        prompt, messages = self._prompt(example.id, messages)

        def answer(text: str) -> str:
            return self._answer(example.id, prompt, messages, text)

        return replace(
            example,
            prompt=prompt.removeprefix(self._tokenizer.bos_token or ""),
            completion=answer(example.completion),
            rejected=None if example.rejected is None else answer(example.rejected),
            options=tuple(answer(option) for option in example.options),
            references=example.references or (example.completion,),
        )

    def _prompt(self, id: str, messages: tuple[Message, ...]) -> tuple[str, tuple[Message, ...]]:
        """The prompt, and the messages that the template took: perhaps with the system's text in the user's."""
        written = self._write(messages, prompt=True)
        system = [m.content.strip() for m in messages if m.role == "system"]
        if isinstance(written, Exception) or not all(text in written for text in system):  # some pass it over
            messages = _system_in_user(messages)
            written = self._write(messages, prompt=True)
        if isinstance(written, Exception):
            raise self._refused(id, written) from written
        return written, messages

    def _answer(self, id: str, prompt: str, messages: tuple[Message, ...], text: str) -> str:
        whole = self._write((*messages, Message("assistant", text)), prompt=False)
        if isinstance(whole, Exception):
            raise self._refused(id, whole) from whole
        if not whole.startswith(prompt):  # some templates rewrite what came before an answer
            return text
        completion = whole[len(prompt) :].rstrip()
        return completion.removesuffix(self._tokenizer.eos_token or "").rstrip() or text

    def _write(self, messages: tuple[Message, ...], prompt: bool) -> str | Exception:
        from jinja2 import TemplateError

        try:
            return self._tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content} for m in messages],
                chat_template=self._source,
                add_generation_prompt=prompt,
                tokenize=False,
            )
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            return error  # a template is somebody's program and may fail in any of these ways

    def _refused(self, id: str, error: Exception) -> ValueError:
        return ValueError(
            f"data.template: {self._called} refuses the conversation {id} ({type(error).__name__}: {error}); "
            "data.template=plain and data.template=chatml take any conversation"
        )


def _own(tokenizer: Any) -> str:
    try:
        return tokenizer.get_chat_template()
    except ValueError as error:  # several by name, and none of them the default
        raise ValueError(
            f"data.template: the tokenizer has the chat templates {', '.join(tokenizer.chat_template)} and none of "
            "them is called default; set data.template=plain or data.template=chatml"
        ) from error


def _system_in_user(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages with the system's text in front of the user's first, as is usual where there is no such role."""
    system = [m.content for m in messages if m.role == "system"]
    others = [m for m in messages if m.role != "system"]
    first = next((i for i, m in enumerate(others) if m.role == "user"), None)
    if not system or first is None:
        return messages
    others[first] = Message("user", "\n\n".join([*system, others[first].content]))
    return tuple(others)


@cache
def _named(name: str) -> str:
    return (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")


def _with_fixed_date(source: str) -> str:
    """The template with a fixed day in place of today's, or a run would not be the same tomorrow."""
    return _named("fixed_date").rstrip("\n") + source if "strftime_now" in source else source

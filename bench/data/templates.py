"""Rows to examples by a task's own templates.

`task.prompt`, `completion`, `rejected` and `system` are Jinja templates over a row's fields, which give text;
`options`, `label`, `references` and `where` are Jinja expressions, which give values. They run in Jinja's sandbox.
Beside Jinja's own filters there are `regex_replace(pattern, replacement)` and `from_json`.
"""

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, Undefined, UndefinedError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import SandboxedEnvironment

from bench.config import Task
from bench.data.example import Example, Message
from bench.data.rows import DataError, Row

SPLITS = ("train", "validation", "test")
TEXTS = ("system", "prompt", "completion", "rejected")
VALUES = ("options", "label", "references", "where")
_OF_A_SPLIT = ("prompt", "completion")
# What a template can raise over a row that is not as it expects; its own faults are found when it is compiled.
_FAILURES = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Excluded(DataError):
    """A row that the task's own `where` leaves out."""


def used(task: Task) -> bool:
    """Whether the task says itself how its rows read; else their format is recognised."""
    return bool(_sources(task, SPLITS))


def errors(task: Task) -> list[str]:
    """What is wrong with a task's templates before any row is read: those that are no Jinja, and missing parts."""
    found = []
    for key, source in _sources(task, SPLITS).items():
        try:
            _compile(key, source)
        except ValueError as error:
            found.append(str(error))
    return found + _missing(task)


def _missing(task: Task) -> list[str]:
    given = [key.removeprefix("task.") for key in _sources(task, SPLITS)]
    if not given:
        return []
    found = []
    if task.label and task.completion:
        found.append("task.completion has no effect with task.label, which says what the right answer is")
    if task.label and not (task.choices or task.options):
        found.append("task.choices or task.options must be given with task.label")
    if task.options and not task.label:
        found.append("task.label must be given with task.options")
    if not (task.label or task.completion):
        found.append(f"task.completion or task.label must be given with task.{given[0]}")
    if not task.prompt and task.kind != "text":
        found.append(f"task.prompt must be given with task.{given[0]}")
    if task.kind == "auto":
        found.append("task.kind must be given with task.prompt: no format tells it")
    if task.kind == "classification" and (task.chat or task.system):
        found.append("task.chat and task.system do not go with task.kind=classification, whose answers are bare texts")
    return found


def examples(rows: Iterable[Row | DataError], task: Task, split: str) -> Iterator[Example | DataError]:
    """The examples of a split's rows, and the errors of those rows that give none, in their order.

    Args:
        rows: of one split; an error among them is passed on.
        task: with a completion or a label.
        split: train, validation or test; its own prompt and completion come before the task's.

    Yields:
        An example, `Excluded` for a row that `task.where` leaves out, or the error that says what is wrong.

    Raises:
        ValueError: a template is no valid Jinja; the message begins with its key.
    """
    write = _Writer(task, split)  # before the first row, or a broken template would wait for it
    return map(write.example_or_error, rows)


def spaced(prompt: str, answer: str) -> str:
    """The answer, with a space in front if nothing else parts it from the prompt."""
    parted = not prompt or prompt[-1].isspace() or answer[:1].isspace()
    return answer if parted else f" {answer}"


class _Writer:
    """A task's templates for one split, compiled."""

    def __init__(self, task: Task, split: str) -> None:
        sources = {key.rpartition(".")[2]: (key, text) for key, text in _sources(task, (split,)).items()}
        self._parts = {name: _compile(key, source) for name, (key, source) in sources.items()}
        self._choices = tuple(choice if choice[:1].isspace() else f" {choice}" for choice in task.choices)
        self._chat = task.chat
        self._seed = task.seed

    def example_or_error(self, row: Row | DataError) -> Example | DataError:
        """The example of a row, or the error about it."""
        if isinstance(row, DataError):
            return row
        try:
            return self._example(row)
        except DataError as error:
            return error

    def _example(self, row: Row) -> Example:
        if "where" in self._parts and not self._part(row, "where"):
            raise Excluded(row.file, "a row of the task", "one that task.where leaves out", line=row.line)
        asked, system = self._text(row, "prompt"), self._text(row, "system")
        options = self._options(row, asked)
        right = self._label(row, options or self._choices) if "label" in self._parts else self._completion(row, asked)
        id = f"{PurePath(row.file).name}:{row.line}"
        wrong = self._rejected(row, id, asked, right, options or self._choices)
        example = Example(id, asked, right, wrong, options, self._references(row))
        return _conversation(example, system) if system or self._chat else example

    def _options(self, row: Row, asked: str) -> tuple[str, ...]:
        if "options" not in self._parts:
            return ()
        found = self._part(row, "options")
        texts = [str(option) for option in found if option is not None] if isinstance(found, list | tuple) else []
        if len(texts) < 2 or not all(text.strip() for text in texts):
            raise row.error("at least two answers in task.options", _short(found))
        return tuple(spaced(asked, text) for text in texts)

    def _completion(self, row: Row, asked: str) -> str:
        text = self._text(row, "completion")
        if not text.strip():
            raise row.error("an answer from task.completion", "an empty text")
        return spaced(asked, text)

    def _label(self, row: Row, answers: Sequence[str]) -> str:
        """The right answer: the one whose text the label is, else the one at its index."""
        label = self._part(row, "label")
        by_text = {answer.strip(): answer for answer in answers}
        if isinstance(label, str) and label.strip() in by_text:
            return by_text[label.strip()]
        place = _index(label)
        if place is None or not 0 <= place < len(answers):
            known = f"an index from 0 to {len(answers) - 1} or one of {', '.join(by_text)}"
            raise row.error(f"a right answer from task.label: {known}", _short(label))
        return answers[place]

    def _rejected(self, row: Row, id: str, asked: str, right: str, answers: Sequence[str]) -> str | None:
        """The wrong answer of the template, else one of the others drawn by the example's id; None if there is none."""
        if "rejected" in self._parts:
            wrong = spaced(asked, self._text(row, "rejected"))
            if wrong.strip() in ("", right.strip()):
                raise row.error("another answer from task.rejected than the right one", _short(wrong.strip()))
            return wrong
        others = [answer for answer in answers if answer != right]
        return random.Random(f"{self._seed}:{id}").choice(others) if others else None

    def _references(self, row: Row) -> tuple[str, ...]:
        if "references" not in self._parts:
            return ()
        found = self._part(row, "references")
        if not isinstance(found, list | tuple) or not found:
            raise row.error("a list of right answers from task.references", _short(found))
        return tuple(dict.fromkeys(str(text).strip() for text in found))

    def _text(self, row: Row, name: str) -> str:
        return self._part(row, name) if name in self._parts else ""

    def _part(self, row: Row, name: str) -> Any:
        return self._parts[name](row)


def _conversation(example: Example, system: str) -> Example:
    """The example with its prompt as messages, and with bare answers, as the chat template parts them."""
    assert isinstance(example.prompt, str)
    messages = (Message("system", system),) if system else ()
    return replace(
        example,
        prompt=(*messages, Message("user", example.prompt.strip())),
        completion=example.completion.strip(),
        rejected=None if example.rejected is None else example.rejected.strip(),
        options=tuple(option.strip() for option in example.options),
    )


def _index(label: Any) -> int | None:
    """The whole number that a label is: 1, 1.0, true or "1"."""
    if isinstance(label, str):
        return int(label) if label.strip().isdecimal() else None
    return int(label) if isinstance(label, int) or (isinstance(label, float) and label.is_integer()) else None


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _sources(task: Task, splits: Sequence[str]) -> dict[str, str]:
    """Every template and expression that is given, by its key; those of one split stand in for the task's."""
    found = {f"task.{name}": getattr(task, name) for name in (*TEXTS, *VALUES)}
    for split in splits:
        found |= {f"task.{split}.{name}": getattr(getattr(task, split), name) for name in _OF_A_SPLIT}
    return {key: source for key, source in found.items() if source}


def _no_null(value: Any) -> Any:
    if value is None:
        raise TypeError("null where a text is written")
    return value


def _environment() -> SandboxedEnvironment:
    """Jinja without its global functions: a name is one of the row's fields, or it is an error."""
    jinja = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, finalize=_no_null)
    jinja.globals.clear()
    jinja.filters["regex_replace"] = lambda text, pattern, replacement="": re.sub(pattern, replacement, text)
    jinja.filters["from_json"] = json.loads
    return jinja


_jinja = _environment()


def _compile(key: str, source: str) -> Callable[[Row], Any]:
    """A template or an expression as a function of a row.

    Raises:
        ValueError: it is no valid Jinja.
    """
    expression = key.rpartition(".")[2] in VALUES
    run: Callable[[dict[str, Any]], Any]
    try:
        names = find_undeclared_variables(_jinja.parse(f"{{{{ {source} }}}}" if expression else source))
        if expression:
            run = _jinja.compile_expression(source, undefined_to_none=False)
        else:
            run = _jinja.from_string(source).render
    except TemplateSyntaxError as error:
        raise ValueError(f"{key}: no valid Jinja: {str(error.message).rstrip('.')}") from error

    def call(row: Row) -> Any:
        try:
            found = run(row.fields)
        except _FAILURES as error:
            raise _failure(row, key, names, error) from error
        if isinstance(found, Undefined):
            raise _failure(row, key, names, UndefinedError(found._undefined_message))
        return found

    return call


def _failure(row: Row, key: str, names: set[str], error: Exception) -> DataError:
    """The error about a row that a template cannot be filled from: by the field that is missing or null, if one is."""
    there = f"the fields {', '.join(map(str, row.fields)) or '(none)'}"
    for name in sorted(names):
        if name not in row.fields and isinstance(error, UndefinedError) and repr(name) in str(error):
            return row.error(f"a field that {key} uses", there, name)
        if row.fields.get(name, name) is None:
            return row.error(f"a value that {key} uses", "null", name)
    return row.error(f"fields that {key} can be made of", f"{there} ({error})")

"""The common form of all data: a prompt with its right completion and, where there is one, a wrong one."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench.records.schema import Data


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str  # system | user | assistant | tool
    content: str


@dataclass(frozen=True)
class Example:
    """One example. The loss is taken on the completion alone.

    A prompt that is text goes to the model as it is, and the completion begins at a token boundary, usually with a
    space. A prompt of messages is written in the model's chat template, and the completion is the bare answer. In
    a task of kind `text` the prompt is empty and the completion is the text.
    """

    id: str
    prompt: str | tuple[Message, ...]
    completion: str
    rejected: str | None = None
    options: tuple[str, ...] = ()  # the row's own answers, the completion among them
    references: tuple[str, ...] = ()  # all answers that count as right; empty: the completion alone


@dataclass(frozen=True)
class TaskData:
    """A task's three splits. `choices` are all possible completions of a classification, else empty."""

    instruction: str  # one sentence that says what is asked
    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    choices: tuple[str, ...] = ()
    kind: str = "classification"  # one of bench.config.task.KINDS
    skipped: dict[str, int] = field(default_factory=dict)  # rows left out, by split and reason
    leaked: dict[str, int] = field(default_factory=dict)  # training examples whose text occurs in another split
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 of every file that was read, by its name

    def each_split(self, change: Callable[[str, Sequence[Example]], Sequence[Example]]) -> "TaskData":
        """The same task with every split changed by a function of its name and its examples."""
        return replace(
            self,
            train=change("train", self.train),
            validation=change("validation", self.validation),
            test=change("test", self.test),
        )

    def facts(self) -> Data:
        """What the record says of the data: fingerprint, sizes, the majority's accuracy, and what was left out."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        whole = hashlib.sha256()
        for part in _json(splits):
            whole.update(part.encode())
        majority = None
        if self.choices:
            majority = Counter(e.completion for e in self.test).most_common(1)[0][1] / len(self.test)
        return Data(
            fingerprint=whole.hexdigest(),
            sizes={name: len(split) for name, split in splits.items()},
            majority_accuracy=majority,
            kind=self.kind,
            skipped=self.skipped,
            leaked=self.leaked,
            files=self.files,
        )


def _json(splits: dict[str, Sequence[Example]]) -> Iterator[str]:
    """The text of one JSON object with a list for each split, in parts, as a whole would not fit into memory."""
    for number, (name, split) in enumerate(sorted(splits.items())):
        yield f'{", " if number else "{"}"{name}": ['
        for place, example in enumerate(split):
            yield (", " if place else "") + json.dumps(_filled(example), sort_keys=True)
        yield "]"
    yield "}"


def _filled(example: Example) -> dict[str, Any]:
    return {key: value for key, value in asdict(example).items() if value != ()}

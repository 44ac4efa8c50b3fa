"""The common form of all data: a prompt with its right completion and, where there is one, a wrong one."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass

from bench.records.schema import Data


@dataclass(frozen=True)
class Example:
    """One example. The completion begins at a token boundary, usually with a space; the loss is taken on it alone.

    In a task of kind `text` the prompt is empty and the completion is the text.
    """

    id: str
    prompt: str
    completion: str
    rejected: str | None = None


@dataclass(frozen=True)
class TaskData:
    """A task's three splits. `choices` are all possible completions of a task of kind `choice`, else empty."""

    instruction: str  # one sentence that says what is asked
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    choices: tuple[str, ...] = ()

    def facts(self) -> Data:
        """Fingerprint, sizes, and the accuracy of always answering with the commonest completion of the test split."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        text = json.dumps({name: [asdict(e) for e in split] for name, split in splits.items()}, sort_keys=True)
        majority = None
        if self.choices:
            majority = Counter(e.completion for e in self.test).most_common(1)[0][1] / len(self.test)
        sizes = {name: len(split) for name, split in splits.items()}
        return Data(hashlib.sha256(text.encode()).hexdigest(), sizes, majority)

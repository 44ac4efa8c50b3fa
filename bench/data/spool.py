"""Many examples in a file instead of in memory: a sequence that reads from the file what is asked for.

So a process takes as much memory for a million rows as for a thousand. The file is not mapped: the pages of a mapping
count as the memory of every process that looks at them. Few examples stay what they are, a tuple. The file is Arrow's,
a JSON text for each example; every batch tells what was counted up to its end, and so the last one what all are.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, overload

from bench.data.example import Example, Message

FEW = 20_000  # examples that stay in memory
BATCH = 1000  # examples that are written, and read, together
FILE = "examples.arrow"


def spool(examples: Iterable[Example]) -> Sequence[Example]:
    """The examples as a sequence: in memory where they are few, else in a file that goes with the sequence."""
    if isinstance(examples, tuple | Spooled):
        return examples
    rest = iter(examples)
    first = tuple(islice(rest, FEW + 1))
    if len(first) <= FEW:
        return first
    with tempfile.TemporaryDirectory(prefix="tunebench-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / FILE
        write(path, chain(first, rest))
        return Spooled(path)  # what is open stays until nobody has it open


def write(path: Path, examples: Iterable[Example]) -> None:
    """Write the examples to a file, a batch at a time."""
    import pyarrow

    schema = pyarrow.schema([("example", pyarrow.large_string())])
    conversations = pairs = 0

    def counted() -> Iterator[str]:
        nonlocal conversations, pairs
        for example in examples:
            conversations += _conversation(example)
            pairs += _pair(example)
            yield _text(example)

    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_file(file, schema) as writer:
        texts = counted()
        while batch := list(islice(texts, BATCH)):
            counts = {"conversations": str(conversations), "pairs": str(pairs)}
            writer.write_batch(pyarrow.record_batch([batch], schema), custom_metadata=counts)


def read(path: Path) -> Sequence[Example]:
    """The examples of a file that `write` wrote, in memory if they are few.

    Raises:
        OSError, ValueError, KeyError, TypeError: there is no such file, or its end is damaged.
    """
    found = Spooled(path)
    return tuple(found) if len(found) <= FEW else found


def conversational(examples: Sequence[Example]) -> bool:
    """Whether the prompt of any of them is a conversation."""
    return examples.conversations > 0 if isinstance(examples, Spooled) else any(map(_conversation, examples))


def paired(examples: Sequence[Example]) -> bool:
    """Whether each of them has a rejected answer beside the right one."""
    return examples.pairs == len(examples) if isinstance(examples, Spooled) else all(map(_pair, examples))


class Spooled(Sequence[Example]):
    """The examples of a file, read a batch at a time.

    Attributes:
        conversations: how many of them have a conversation for a prompt.
        pairs: how many have a rejected answer.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow

        self._batches = pyarrow.ipc.open_file(pyarrow.OSFile(str(path)))
        self._last: tuple[int, Any] = -1, None  # the batch that was asked for last, with its number
        self._length = self.conversations = self.pairs = 0
        if count := self._batches.num_record_batches:
            last = self._batches.get_batch_with_custom_metadata(count - 1)
            self._length = (count - 1) * BATCH + len(last.batch)
            self.conversations, self.pairs = (int(last.custom_metadata[name]) for name in ("conversations", "pairs"))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Example]:
        for number in range(self._batches.num_record_batches):
            yield from map(_example, self._batches.get_batch(number).column("example").to_pylist())

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Example, ...]: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(self._length)))
        wanted, place = divmod(range(self._length)[index], BATCH)
        number, batch = self._last
        if number != wanted:
            self._last = wanted, (batch := self._batches.get_batch(wanted))
        return _example(batch.column("example")[place].as_py())


def _conversation(example: Example) -> bool:
    return not isinstance(example.prompt, str)


def _pair(example: Example) -> bool:
    return bool(example.rejected)


def _text(example: Example) -> str:
    prompt = example.prompt if isinstance(example.prompt, str) else [[m.role, m.content] for m in example.prompt]
    return json.dumps([example.id, prompt, example.completion, example.rejected, example.options, example.references])


def _example(text: str) -> Example:
    name, prompt, completion, rejected, options, references = json.loads(text)
    if isinstance(prompt, list):
        prompt = tuple(Message(role, content) for role, content in prompt)
    return Example(name, prompt, completion, rejected, tuple(options), tuple(references))

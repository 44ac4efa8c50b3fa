"""Many examples in a file instead of in memory: a sequence that maps the file and reads what is asked for.

So a process takes as much memory for a million rows as for a thousand, and processes that map the same file share its
pages. Few examples stay what they are, a tuple. The file is Arrow's, a JSON text for each example.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, overload

from bench.data.example import Example, Message

FEW = 20_000  # examples that stay in memory
BATCH = 1000  # examples that are written together
FILE = "examples.arrow"
CONVERSATION = r'^\["(?:[^"\\]|\\.)*", \['  # an example's text, by `_text`, whose prompt is a list of messages


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
        return Spooled(path)  # what is mapped stays until nobody maps it


def write(path: Path, examples: Iterable[Example]) -> None:
    """Write the examples to a file, a batch at a time."""
    import pyarrow

    schema = pyarrow.schema([("example", pyarrow.large_string())])
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_file(file, schema) as writer:
        rest = iter(examples)
        while batch := [_text(example) for example in islice(rest, BATCH)]:
            writer.write_batch(pyarrow.record_batch([batch], schema))


def read(path: Path) -> Sequence[Example]:
    """The examples of a file that `write` wrote, mapped if they are many.

    Raises:
        OSError, ValueError: there is no such file, or it is damaged.
    """
    found = Spooled(path)
    return tuple(found) if len(found) <= FEW else found


def conversational(examples: Sequence[Example]) -> bool:
    """Whether the prompt of any of them is a conversation."""
    if isinstance(examples, Spooled):
        return examples.conversational()
    return not all(isinstance(example.prompt, str) for example in examples)


class Spooled(Sequence[Example]):
    """The examples of a file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        import pyarrow

        table = pyarrow.ipc.open_file(pyarrow.memory_map(str(path))).read_all()
        self._batches: list[pyarrow.Array] = table.column("example").chunks
        self._length = len(table)

    def conversational(self) -> bool:
        """Whether the prompt of any example is a conversation, without reading one of them in Python."""
        from pyarrow import compute

        return any(compute.any(compute.match_substring_regex(batch, CONVERSATION)).as_py() for batch in self._batches)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Example]:
        for batch in self._batches:
            yield from map(_example, batch.to_pylist())

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Example, ...]: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(self._length)))
        place = range(self._length)[index]
        return _example(self._batches[place // BATCH][place % BATCH].as_py())


def _text(example: Example) -> str:
    prompt = example.prompt if isinstance(example.prompt, str) else [[m.role, m.content] for m in example.prompt]
    return json.dumps([example.id, prompt, example.completion, example.rejected, example.options, example.references])


def _example(text: str) -> Example:
    name, prompt, completion, rejected, options, references = json.loads(text)
    if isinstance(prompt, list):
        prompt = tuple(Message(role, content) for role, content in prompt)
    return Example(name, prompt, completion, rejected, tuple(options), tuple(references))

"""Tasks that were read before, and rows that were tokenised: kept by their content, in files where they are many.

All runs of a sweep see the same data, and reading it takes longer than training some of them. So the first run keeps
what it has read in the user's cache directory, under a hash of all that it depends on: the settings, the bytes of the
files (or of the standard library), the tokenizer, the versions and the sources of this package. Later runs find it.
Whatever goes wrong costs time, never data. What comes from another machine is not kept, as nobody knows whether it is
still the same there.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import Data, Task
from bench.data import chat, sources, spool, stdlib, tasks
from bench.data.example import TaskData
from bench.records import kept, schema
from bench.records.cache_dir import cache_dir
from bench.records.find import signature

if TYPE_CHECKING:
    from datasets import Dataset, Features

Rows = Iterable[dict[str, Any]]
PACKAGES = tuple(Path(__file__).parents[1] / name for name in ("config", "data"))
TOGETHER = 1_000_000  # tokens that are written together, as are the lengths of their rows: so all lie in few pages


def load(task: Task, settings: Data) -> tuple[TaskData, schema.Data, str]:
    """The task with the facts of it, and the key by which what is made of it can be kept; "" if it cannot.

    Raises:
        ValueError: as `bench.data.tasks.load`.
    """
    key = _key(task, settings)
    folder = _folder() if key else None
    if folder is not None and (found := _read(folder, key)) is not None:
        print(f"data: as an earlier run has read them, {key}", flush=True)  # what was skipped stands in its log
        return *found, key
    data = tasks.load(task, settings)
    facts = data.facts()
    if folder is None or key != _key(task, replace(settings, content=sources.content(settings))):
        return data, facts, ""  # a file has changed since the run was planned
    _keep(folder, key, data, facts)
    return data, facts, key


def dataset(key: str, depends: object, rows: Callable[[], Rows]) -> "Dataset":
    """The rows as a data set: that which was kept, or a new one, which is kept.

    Args:
        key: of the task, from `load`; "": nothing is kept, and the data set is in memory.
        depends: what the rows depend on beside the task and the sources of this package.
        rows: makes them.
    """
    from datasets import Dataset

    folder = _folder() if key else None
    if folder is None:
        return _in_memory(rows())
    path = folder / f"{_hash(key, depends, version('datasets'), version('tokenizers'))}.arrow"
    if not path.exists():
        kept.make(path, lambda temporary: _write_rows(temporary, rows()))
    try:
        found = Dataset.from_file(str(path))
        os.utime(path)
    except (OSError, ValueError):  # it could not be written, or is damaged
        return _in_memory(rows())
    return found


def tokenizer_key(tokenizer: Any) -> str:
    """A hash of all that decides how a text becomes tokens; "" for a tokenizer that does not tell."""
    if not getattr(tokenizer, "is_fast", False):
        return ""
    parts = (tokenizer.backend_tokenizer.to_str(), str(tokenizer.special_tokens_map), str(tokenizer.chat_template))
    return _hash(type(tokenizer).__name__, *parts)


def _key(task: Task, settings: Data) -> str:
    """A hash of all that the task's examples depend on; "" if that is not known."""
    if task.source in tasks.GENERATED:
        origin = stdlib.signature() if task.source == "pydoc" else ""
    elif task.source == "file" and not any(_remote(settings)):
        origin = settings.content
    else:
        return ""
    templates = sorted((path.name, signature(str(path))) for path in chat.TEMPLATES.iterdir())
    return _hash(origin, asdict(task), asdict(settings), templates, kept.code(*PACKAGES))


def _remote(settings: Data) -> Iterator[bool]:
    return (sources.is_remote(getattr(settings, name)) for name in sources.LOCATIONS)


def _hash(*parts: object) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _folder() -> Path | None:
    """Where all this lies; None where nothing is kept."""
    folder = cache_dir()
    if folder is None:
        return None
    folder /= "data"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    return folder if kept.own(folder) else None


def _read(folder: Path, key: str) -> tuple[TaskData, schema.Data] | None:
    head = folder / f"{key}.json"
    try:
        given = json.loads(head.read_bytes())
        paths = {name: folder / f"{key}.{name}.arrow" for name in tasks.SPLITS}
        splits = {name: spool.read(path) for name, path in paths.items()}
        facts = schema.Data(**given.pop("facts"))
        if facts.sizes != {name: len(split) for name, split in splits.items()}:
            return None
        for path in (head, *paths.values()):
            os.utime(path)
        return TaskData(**given | splits | {"choices": tuple(given["choices"])}), facts
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _keep(folder: Path, key: str, data: TaskData, facts: schema.Data) -> None:
    """The splits first: where the head is, all is."""
    for name in tasks.SPLITS:
        split = getattr(data, name)
        if not kept.make(folder / f"{key}.{name}.arrow", partial(spool.write, examples=split)):
            return
    head: Mapping[str, Any] = {k: v for k, v in vars(data).items() if k not in tasks.SPLITS}
    kept.write(folder / f"{key}.json", json.dumps({**head, "facts": asdict(facts)}).encode())


def _in_memory(rows: Rows) -> "Dataset":
    from datasets import Dataset

    found = list(rows)
    return Dataset.from_list(found, features=_features(found[0]))


def _write_rows(path: Path, rows: Rows) -> None:
    from datasets.arrow_writer import ArrowWriter

    rest = iter(rows)
    first = next(rest)
    with ArrowWriter(path=str(path), features=_features(first), writer_batch_size=TOGETHER) as writer:
        tokens = 0
        for row in chain([first], rest):
            writer.write(row)
            tokens += sum(map(len, row.values()))
            if tokens >= TOGETHER:
                writer.write_examples_on_file()
                tokens = 0
        writer.finalize()


def _features(row: dict[str, Any]) -> "Features":
    """Lists of tokens, in half of the room that Python's numbers would take."""
    from datasets import Features, List, Value

    return Features({name: List(Value("int32")) for name in row})

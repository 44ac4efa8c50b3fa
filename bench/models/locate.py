"""Where a base model's files are, told from `model.path` alone; imports no deep-learning library.

The command line asks here before it starts anything, so that a mistyped path costs no import of torch.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from bench.config import Model
from bench.data.sources.files import sha256
from bench.method import did_you_mean

EMBEDDED = Path(__file__).parent / "embedded"
PREFIX = "embedded:"
TOKENIZER = ("*token*", "*vocab*", "*.model", "tekken.json")  # one of these files at least comes with any tokenizer
WEIGHTS = (".safetensors", ".bin")
SETTINGS = (".json", ".jinja", ".model", ".py", ".tiktoken", ".txt")  # of a model and its tokenizer
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def embedded() -> list[str]:
    """Names of the models that come with tunebench."""
    return sorted(config.parent.name for config in EMBEDDED.glob("*/config.json"))


def resolve(path: str) -> str:
    """What transformers can load for `model.path`: a folder, or a Hub id unchanged.

    `embedded:NAME` is a model that comes with tunebench. Whatever begins with `/`, `./`, `../` or `~`, exists as a
    folder or cannot be a Hub id (`name` or `owner/name`) is a folder.

    Raises:
        ValueError: there is no such embedded model or folder, or the folder holds no model.
    """
    if path.startswith(PREFIX):
        name = path.removeprefix(PREFIX)
        if name not in embedded():
            raise ValueError(f"model.path: there is no embedded model {name!r}{did_you_mean(name, embedded())}")
        return str(EMBEDDED / name)
    return _folder("model.path", path, "model", "config.json")


def resolve_tokenizer(path: str) -> str:
    """What transformers can load for `model.tokenizer`: a folder, or a Hub id unchanged.

    Raises:
        ValueError: there is no such folder, or it holds no tokenizer.
    """
    return _folder("model.tokenizer", path, "tokenizer", "tokenizer_config.json")


def resolve_whole(path: str) -> str:
    """What transformers can load for `model.path`, which must bring the tokenizer too: a folder, or a Hub id unchanged.

    Without a tokenizer's files transformers makes an empty one for many architectures, and says nothing.

    Raises:
        ValueError: there is no such embedded model or folder, or the folder holds no model or no tokenizer.
    """
    place = resolve(path)
    folder = Path(place)
    if folder.is_dir() and not any(file for pattern in TOKENIZER for file in folder.glob(pattern)):
        raise ValueError(f"model.path: {path} holds no tokenizer; name one with model.tokenizer")
    return place


def errors(model: Model) -> list[str]:
    """What is wrong with where the files of a model are said to be; an empty path is named by `model.errors()`."""
    whole = [] if model.bare() else [(model.path, resolve if model.tokenizer else resolve_whole)]
    found = []
    for path, check in (*whole, (model.tokenizer, resolve_tokenizer)):
        try:
            if path:
                check(path)
        except ValueError as error:
            found.append(str(error))
    return found


def content(model: Model) -> str:
    """SHA-256 over the local files that make the model, or "" if none is local: other bytes are another model.

    An embedded model is not hashed: it comes with tunebench and never changes.

    Raises:
        ValueError: there is no such model or tokenizer.
    """
    read = SETTINGS if model.weights == "random" else SETTINGS + WEIGHTS
    path = "" if model.bare() or model.path.startswith(PREFIX) else resolve(model.path)
    tokenizer = resolve_tokenizer(model.tokenizer) if model.tokenizer else ""
    hashes = [f"path {line}" for line in _hashes(path, read)]
    hashes += [f"tokenizer {line}" for line in _hashes(tokenizer, SETTINGS)]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest() if hashes else ""


def _hashes(place: str, endings: tuple[str, ...]) -> list[str]:
    """Names and hashes of the files in a folder; none for a Hub id."""
    found = sorted(file for file in Path(place).glob("*") if file.suffix in endings) if place else []
    return [f"{file.name} {_hash(file, file.stat().st_size, file.stat().st_mtime_ns)}" for file in found]


@cache
def _hash(file: Path, _size: int, _changed: int) -> str:
    """Hashed once for all runs of a sweep, unless the file changes meanwhile."""
    return sha256(file)


def _folder(key: str, path: str, what: str, file: str) -> str:
    folder = Path(path).expanduser()
    if not (folder.is_dir() or path.startswith((".", "~")) or not _HUB_ID.fullmatch(path)):
        return path
    if not folder.is_dir():
        raise ValueError(f"{key}: there is no folder {path or repr(path)}")
    if not (folder / file).is_file():
        raise ValueError(f"{key}: {path} holds no {what}, its {file} is missing")
    return str(folder)


def source(model: Model) -> dict[str, Any]:
    """Which version of the model's files transformers reads, and whether it runs code among them."""
    return {"revision": model.revision, "trust_remote_code": model.trust_remote_code}


@contextmanager
def reporting(model: Model) -> Iterator[None]:
    """Turn what transformers raises for a model that is missing or unfit into one sentence for the user."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        lines = str(error).strip().splitlines()
        if isinstance(error, ValueError) and lines[:1] and lines[0].startswith("model."):
            raise
        reason = lines[0] if lines else type(error).__name__
        if "attention" in str(error).lower():
            raise ValueError(f"model.attention={model.attention}: cannot load {model.path}: {reason}") from error
        if model.safetensors and "safetensors" in reason:
            reason += "; model.safetensors=false reads pickled weights too"
        raise ValueError(f"model.path: cannot load {model.path}: {reason}") from error

"""Where a base model's files are, told from `model.path` alone; imports no deep-learning library.

The command line asks here before it starts anything, so that a mistyped path costs no import of torch.
"""

import re
from pathlib import Path

from bench.method import did_you_mean

EMBEDDED = Path(__file__).parent / "embedded"
PREFIX = "embedded:"
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
    folder = Path(path).expanduser()
    if not (folder.is_dir() or path.startswith((".", "~")) or not _HUB_ID.fullmatch(path)):
        return path
    if not folder.is_dir():
        raise ValueError(f"model.path: there is no folder {path or repr(path)}")
    if not (folder / "config.json").is_file():
        raise ValueError(f"model.path: {path} holds no model, its config.json is missing")
    return str(folder)

"""`tunebench methods | models | tasks | hardware`: what there is, one line each."""

from pathlib import Path

from bench.method import discover
from bench.paths import conf_dir

USES = {"methods": "method", "models": "model", "tasks": "task", "hardware": "hardware"}


def main(kind: str) -> int:
    """Print the list of one kind, with the override that chooses each entry."""
    rows = methods() if kind == "methods" else named(USES[kind])
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{USES[kind]}={name:<{width}}  {text}")
    return 0


def methods() -> list[tuple[str, str]]:
    """Every registered method with the first line of its docstring, then the named variants."""
    found = [(name, f"{cls.summary()} (learning rate {cls().learning_rate:g})") for name, cls in discover().items()]
    return found + named("method")


def named(group: str) -> list[tuple[str, str]]:
    """The YAML files of a config group with the comment on their first line."""
    files = sorted((conf_dir() / group).glob("*.yaml"))
    return [(file.stem, _first_comment(file)) for file in files]


def _first_comment(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        return next(lines, "").removeprefix("#").strip()

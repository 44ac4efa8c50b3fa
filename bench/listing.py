"""`tunebench methods | models | tasks | hardware`: what there is, one line each."""

import sys
from collections.abc import Sequence

from bench.method import discover
from bench.paths import conf_dir

USES = {"methods": "method", "models": "model", "tasks": "task", "hardware": "hardware"}
USAGE = """\
usage: tunebench {kind}{options}

What there is to choose from, one a line, with the override that chooses it: tunebench run {use}=NAME
"""
CARDS = """
Then the cards that `tunebench advise --gpu NAME` knows, whose facts are estimates until `tunebench calibrate` has
measured the one at hand. To add one, put a file NAME.yaml with the keys of those in {shipped}
into {own}
"""
MATRIX = "\n  --matrix  which method runs on which family of base models, and why not on the others\n"


def main(kind: str, arguments: Sequence[str] = ()) -> int:
    """Print the list of one kind, with the override that chooses each entry; `models --matrix` the matrix."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE.format(kind=kind, options=" [--matrix]" * (kind == "models"), use=USES[kind]), end="")
        print(MATRIX * (kind == "models"), end="")
        if kind == "hardware":
            from bench.advise.cards import SHIPPED, own_folder

            print(CARDS.format(shipped=SHIPPED, own=own_folder()), end="")
        return 0
    if list(arguments) == ["--matrix"] and kind == "models":
        from bench.models.matrix import main as matrix

        return matrix()
    if arguments:
        print(f"tunebench {kind}: there is no option {arguments[0]}", file=sys.stderr)
        return 2
    rows = methods() if kind == "methods" else named(USES[kind])
    rows = [(f"{USES[kind]}={name}", text) for name, text in rows]
    rows += _cards() if kind == "hardware" else []
    width = max(len(choice) for choice, _ in rows)
    for choice, text in rows:
        print(f"{choice:<{width}}  {text}")
    return 0


def _cards() -> list[tuple[str, str]]:
    from bench.advise import cards

    return [(f"--gpu={card.name}", card.summary()) for card in cards.listed()]


def methods() -> list[tuple[str, str]]:
    """Every registered method with the first line of its docstring, then the named variants."""
    found = [(name, f"{cls.summary()} (learning rate {cls().learning_rate:g})") for name, cls in discover().items()]
    return found + named("method")


def named(group: str) -> list[tuple[str, str]]:
    """The YAML files of a config group, then those in its folders as `folder/name`, with what each is.

    That is the comment on the file's first line, and a mark where every example has a rejected answer too.
    """
    folder = conf_dir() / group
    files = sorted(folder.glob("*.yaml")) + sorted(folder.glob("*/*.yaml"))
    return [(file.relative_to(folder).with_suffix("").as_posix(), _about(file.read_text("utf-8"))) for file in files]


def _about(text: str) -> str:
    lines = text.splitlines()
    first = lines[0].removeprefix("#").strip() if lines else ""
    return f"{first} [preferences]" if "preferences: true" in lines else first

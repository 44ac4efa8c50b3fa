"""`tunebench methods | models | tasks | hardware`: what there is, one line each."""

import sys
from collections.abc import Sequence

from bench.capabilities import HEADERS, LEGEND, table
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
OPTIONS = {
    "methods": ("--capabilities", "what each can do, as the contract's suite found it by trying"),
    "models": ("--matrix", "which method runs on which family of base models, and why not on the others"),
}


def main(kind: str, arguments: Sequence[str] = ()) -> int:
    """Print the list of one kind, with the override that chooses each entry, or what its option asks for."""
    option, meaning = OPTIONS.get(kind, ("", ""))
    if {"-h", "--help"} & set(arguments):
        print(USAGE.format(kind=kind, options=f" [{option}]" * bool(option), use=USES[kind]), end="")
        print(f"\n  {option}  {meaning}\n" * bool(option), end="")
        if kind == "hardware":
            from bench.advise.cards import SHIPPED, own_folder

            print(CARDS.format(shipped=SHIPPED, own=own_folder()), end="")
        return 0
    if option and list(arguments) == [option]:
        return _matrix() if kind == "models" else _capabilities()
    if arguments:
        print(f"tunebench {kind}: there is no option {arguments[0]}", file=sys.stderr)
        return 2
    rows = methods() if kind == "methods" else named(USES[kind])
    rows = [(f"{USES[kind]}={name}", text) for name, text in rows]
    rows += _cards() if kind == "hardware" else []
    _print_aligned([list(row) for row in rows])
    return 0


def _matrix() -> int:
    from bench.models.matrix import main as matrix

    return matrix()


def _capabilities() -> int:
    names = [name for name, _ in methods()]
    _print_aligned([["method", *HEADERS], *table(names)])
    print(f"\n{LEGEND}", end="")
    return 0


def _print_aligned(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; a row of two cells, which says something else, decides nothing."""
    columns = max(len(row) for row in rows)
    widths = [max(len(row[n]) for row in rows if len(row) == columns or n == 0) for n in range(columns)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)).rstrip())


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

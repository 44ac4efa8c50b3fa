"""The Python standard library as a text corpus, read from the interpreter at hand.

It is real text that every machine already has: no download and no copy in the repository. Two users share
it and must agree on what is held out: the `pydoc` task (`bench.data.pydoc`) and the pre-training of the
embedded base model (`bench.models.pretrain`).

Source files are parsed, never imported, so nothing of the library runs. The text differs a little between
Python versions; every record therefore carries the fingerprint of the data that it saw.
"""

import ast
import hashlib
import os
import re
import sysconfig
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Modules with many docstrings, present in CPython 3.11 to 3.14, that no distribution splits off (as tkinter is).
MODULES = (
    "asyncio", "decimal", "email", "http", "importlib", "inspect", "ipaddress", "logging",
    "mailbox", "multiprocessing", "tarfile", "turtle", "typing", "unittest", "urllib", "xml",
)  # fmt: skip

_PURE_PYTHON_TWINS = {"_pydecimal": "decimal", "_pydatetime": "datetime", "_pyio": "io"}
_SKIPPED_FOLDERS = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "turtledemo",
    "__pycache__",
}
_HOLDS_DEFINITIONS = (ast.stmt, ast.ExceptHandler, ast.match_case)
_GENERAL_TEXT_PERCENT = 4
_TEST_PERCENT, _VALIDATION_PERCENT = 25, 15
_SHORTEST_DOCSTRING = 30  # characters; below this a docstring says nothing of its module


@dataclass(frozen=True)
class Source:
    """One source file: `path` relative to the library's root with forward slashes, and its text."""

    path: str
    text: str

    @property
    def module(self) -> str:
        """Top-level module, under the name by which users import it."""
        top = self.path.split("/")[0].removesuffix(".py")
        return _PURE_PYTHON_TWINS.get(top, top)


@dataclass(frozen=True)
class Docstring:
    """A docstring with the name and kind (`module`, `class`, `function`) of what it documents."""

    module: str
    path: str
    name: str
    kind: str
    text: str
    lines: tuple[int, int]  # first and last line in the source, counted from 1

    @property
    def words(self) -> str:
        """The text with every white space made a single one: what makes two docstrings equal."""
        return " ".join(self.text.split())

    @property
    def split(self) -> str:
        """`train`, `validation` or `test`, by a hash of the text: equal texts never meet across splits."""
        bucket = _bucket(self.words)
        if bucket < _TEST_PERCENT:
            return "test"
        return "validation" if bucket < _TEST_PERCENT + _VALIDATION_PERCENT else "train"


def _bucket(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 100


def _files() -> tuple[Path, list[Path]]:
    """The library's root, and its source files."""
    root = Path(sysconfig.get_path("stdlib"))
    paths: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS]
        paths += [Path(folder, name) for name in files if name.endswith(".py")]
    return root, sorted(paths)


def signature() -> str:
    """What changes when the library does: a hash of the sizes and times of its files."""
    found = [(str(path), status.st_size, status.st_mtime_ns) for path in _files()[1] if (status := path.stat())]
    return hashlib.sha256(repr(found).encode()).hexdigest()


@cache
def sources() -> tuple[Source, ...]:
    """Every source file of the standard library but its tests, sorted by path.

    Raises:
        ValueError: the interpreter has no library of source files (a zipped or stripped installation).
    """
    root, paths = _files()
    found = [Source(path.relative_to(root).as_posix(), _text(path)) for path in paths]
    missing = set(MODULES) - {source.module for source in found}
    if missing:
        raise ValueError(f"the Python standard library at {root} lacks the source of {', '.join(sorted(missing))}")
    return tuple(found)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def is_general_text(source: Source) -> bool:
    """Whether the file is held out of pre-training to measure forgetting: a few percent, none of them of the task."""
    return source.module not in MODULES and _bucket(source.path) < _GENERAL_TEXT_PERCENT


def general_text() -> str:
    """The held-out files, joined: general text (code and prose) that neither pre-training nor a task shows."""
    root, paths = _files()
    chosen = (path for path in paths if is_general_text(Source(path.relative_to(root).as_posix(), "")))
    return "\n\n".join(map(_text, chosen))


@cache
def docstrings(source: Source) -> tuple[Docstring, ...]:
    """The docstrings of one file, outer ones first; a file that this interpreter cannot parse has none."""
    return tuple(_parsed(source))


def _parsed(source: Source) -> Iterator[Docstring]:
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError):
        return
    module_name = source.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for node in _statements(tree):
        if isinstance(node, ast.Module):
            kind, name = "module", module_name
        elif isinstance(node, ast.ClassDef):
            kind, name = "class", node.name
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            kind, name = "function", node.name
        else:
            continue
        text = ast.get_docstring(node)
        if text and len(text) >= _SHORTEST_DOCSTRING:
            literal = node.body[0]
            lines = (literal.lineno, literal.end_lineno or literal.lineno)
            yield Docstring(source.module, source.path, name, kind, text, lines)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """The module and everything in it that can hold a definition, breadth first; expressions cannot, and are many."""
    waiting: deque[ast.AST] = deque([tree])
    while waiting:
        node = waiting.popleft()
        waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, _HOLDS_DEFINITIONS)]
        yield node


@cache
def task_docstrings() -> tuple[Docstring, ...]:
    """The docstrings of `MODULES`, each text once; texts that two modules share are left out as ambiguous."""
    by_text: dict[str, list[Docstring]] = {}
    for source in sources():
        if source.module in MODULES:
            for docstring in docstrings(source):
                by_text.setdefault(docstring.words, []).append(docstring)
    return tuple(same[0] for same in by_text.values() if len({d.module for d in same}) == 1)


def without_held_out_docstrings(source: Source) -> str:
    """The file's text with every docstring cut that occurs in the task's validation or test split."""
    held_out = held_out_texts()
    lines = source.text.splitlines()
    for docstring in docstrings(source):
        if docstring.words in held_out:
            first, last = docstring.lines
            lines[first - 1 : last] = [re.sub(r"\S.*", "...", lines[first - 1], count=1)] + [""] * (last - first)
    return "\n".join(lines)


@cache
def held_out_texts() -> frozenset[str]:
    """The words of every docstring in the task's validation and test split."""
    return frozenset(d.words for d in task_docstrings() if d.split != "train")

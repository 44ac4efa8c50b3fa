"""The corpus: what is read, how it is split, and that nothing held out is shown in pre-training."""

import ast
import sys
from dataclasses import replace

import pytest

from bench.data import stdlib
from bench.data.example import TaskData
from bench.data.stdlib import Docstring, Source
from bench.models.pretrain import annealing_documents, documents

LONG = "Return how many lines the file has, and close it."
CODE = f'''"""A module that says what it is for."""
class Reader:
    """A reader of files, line by line."""

    def count(self):
        """{LONG}

        Nothing is returned to the operating system.
        """
        return 1

    async def close(self):
        """Too short."""


def last(): """{LONG}"""
'''


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def pretraining_text() -> str:
    return "\n".join(map(flat, documents()))


def test_the_library_is_read_without_its_tests_and_without_what_was_installed_beside_it():
    paths = [source.path for source in stdlib.sources()]
    assert paths == sorted(paths)
    assert {"asyncio/tasks.py", "json/__init__.py", "turtle.py"} <= set(paths)
    folders = {part for path in paths for part in path.split("/")[:-1]}
    assert not folders & {"site-packages", "dist-packages", "test", "tests", "__pycache__"}
    assert {source.module for source in stdlib.sources()} >= set(stdlib.MODULES)


def test_the_modules_belong_to_the_library_of_every_python():
    assert len(stdlib.MODULES) == len(set(stdlib.MODULES)) == 16
    assert set(stdlib.MODULES) <= set(sys.stdlib_module_names)


def test_a_library_without_sources_is_named(tmp_path, monkeypatch):
    (tmp_path / "asyncio").mkdir()
    (tmp_path / "asyncio" / "__init__.py").touch()
    monkeypatch.setattr(stdlib.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(ValueError, match=rf"^the Python standard library at {tmp_path} lacks the source of decimal, "):
        stdlib.sources.__wrapped__()


@pytest.mark.parametrize(
    ("path", "module"),
    [("json/decoder.py", "json"), ("turtle.py", "turtle"), ("_pydecimal.py", "decimal"), ("_pyio.py", "io")],
)
def test_a_file_belongs_to_the_module_by_which_users_import_it(path: str, module: str):
    assert Source(path, "").module == module


def test_docstrings_of_modules_classes_and_functions_with_their_lines():
    found = {(d.kind, d.name): d for d in stdlib.docstrings(Source("box/lid.py", CODE))}
    assert found.keys() == {("module", "box.lid"), ("class", "Reader"), ("function", "count"), ("function", "last")}
    assert {d.module for d in found.values()} == {"box"}
    assert found["function", "count"].lines == (6, 9)
    assert found["function", "count"].text == f"{LONG}\n\nNothing is returned to the operating system."
    assert found["function", "last"].lines == (16, 16)


def test_a_file_of_another_python_has_no_docstrings():
    assert not list(stdlib.docstrings(Source("old.py", '"""A module of a time when print was a word."""\nprint "x"')))
    assert not list(stdlib.docstrings(Source("null.py", '"""A module that holds a null byte at its end."""\0')))


def test_a_split_depends_on_the_words_of_the_text_alone():
    one = Docstring("json", "json/a.py", "f", "function", LONG, (1, 1))
    spread = replace(one, module="xml", path="xml/b.py", name="g", text=LONG.replace(" ", "\n   "), lines=(7, 9))
    assert spread.split == one.split
    numbered = [replace(one, text=f"{LONG} {i}").split for i in range(400)]
    shares = {split: numbered.count(split) / 400 for split in set(numbered)}
    assert shares == pytest.approx({"train": 0.60, "validation": 0.15, "test": 0.25}, abs=0.08)


def test_no_text_belongs_to_two_modules_or_occurs_twice():
    texts = [flat(d.text) for d in stdlib.task_docstrings()]
    assert len(texts) == len(set(texts)) > 1500
    modules: dict[str, set[str]] = {}
    for source in stdlib.sources():
        if source.module in stdlib.MODULES:
            for docstring in stdlib.docstrings(source):
                modules.setdefault(flat(docstring.text), set()).add(docstring.module)
    assert {text for text, named in modules.items() if len(named) == 1} == set(texts)


def test_held_out_docstrings_are_cut_and_the_rest_of_the_file_stays():
    held_out = next(d for d in stdlib.task_docstrings() if d.split == "test" and '"' not in d.text + "\\")
    shown = next(d for d in stdlib.task_docstrings() if d.split == "train")
    code = [
        "def f(x):",
        *f'    """{held_out.text}"""'.splitlines(),
        "    return x",
        "def g(x):",
        *f'    """{shown.text}"""'.splitlines(),
    ]
    cut = stdlib.without_held_out_docstrings(Source("new.py", "\n".join(code)))
    assert flat(held_out.text) not in flat(cut)
    assert flat(shown.text) in flat(cut)
    assert len(cut.splitlines()) == len(code)
    assert ast.unparse(ast.parse(cut).body[0]) == "def f(x):\n    ...\n    return x"


def test_pretraining_shows_no_held_out_docstring(pydoc_data: TaskData, pretraining_text: str):
    ids = {example.id for example in pydoc_data.validation + pydoc_data.test}
    held_out = {flat(d.text) for d in stdlib.task_docstrings() if f"{d.path}:{d.name}:{d.lines[0]}" in ids}
    assert len(held_out) == len(ids) > 600
    assert [text for text in held_out if text in pretraining_text] == []


def test_annealing_shows_pages_of_the_pretraining_text_that_end_with_their_module(pretraining_text: str):
    shown = set(pretraining_text.splitlines())
    pages = [flat(page) for page in annealing_documents()]
    assert len(pages) > 5000
    assert set(pages) <= shown
    names = {source.module for source in stdlib.sources()}
    assert all(page.rpartition(" ")[2] in names for page in pages)


def test_pretraining_shows_the_training_docstrings(pydoc_data: TaskData, pretraining_text: str):
    ids = {example.id for example in pydoc_data.train[:100]}
    shown = {flat(d.text[:600]) for d in stdlib.task_docstrings() if f"{d.path}:{d.name}:{d.lines[0]}" in ids}
    assert [text for text in shown if text not in pretraining_text] == []


def test_pretraining_shows_no_general_text(pretraining_text: str):
    held_out = [source for source in stdlib.sources() if stdlib.is_general_text(source)]
    assert not {source.module for source in held_out} & set(stdlib.MODULES)
    assert len(stdlib.general_text()) > 100_000
    assert all(source.text in stdlib.general_text() for source in held_out)
    paths = [f"# Lib/{source.path} " for source in held_out if source.text]
    assert [path for path in paths if path in pretraining_text] == []
    long = [flat(source.text)[:2000] for source in held_out if len(flat(source.text)) >= 2000]
    assert len(long) > 5
    assert [text for text in long if text in pretraining_text] == []

"""The example of methods/README.md, as it stands there, keeps the whole contract."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

import bench.method
from bench import contract

README = Path(__file__).resolve().parents[2] / "methods" / "README.md"
MODULE = "an_example"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[bench.method.Method]]:
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    folder = tmp_path_factory.mktemp("example")
    (folder / f"{MODULE}.py").write_text(code[1], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        bench.method.discover()
        patch.setattr(bench.method, "_registry", dict(bench.method._registry))  # forgets the example afterwards
        patch.syspath_prepend(folder)
        before = set(bench.method._registry)
        importlib.import_module(MODULE)
        (name,) = set(bench.method._registry) - before
        yield bench.method.get(name)
    del sys.modules[MODULE]
    stored = ConfigStore.instance().repo.get("method", {})  # where the clauses about the command line put it
    for group in (stored, stored.get("adapter", {})):
        group.pop(f"{name}.yaml", None)



@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "t5"])
def test_the_example_keeps_the_contract(example: type[bench.method.Method], family: str, tmp_path: Path):
    outcomes = contract.check(example(), contract.tiny_model(tmp_path, family))
    assert [str(outcome) for outcome in outcomes if outcome.broken] == []


def test_the_example_s_error_is_the_one_the_text_quotes(example: type[bench.method.Method]):
    (error,) = example(width=0).errors()  # type: ignore[call-arg]
    assert f"`{error}`" in README.read_text(encoding="utf-8")


def test_the_text_names_every_clause():
    text = README.read_text(encoding="utf-8")
    assert [clause.__name__ for clause in contract.CLAUSES if f"`{clause.__name__}`" not in text] == []

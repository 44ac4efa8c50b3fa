"""The example of methods/README.md, as it stands there, keeps the whole contract."""

import re
from pathlib import Path

import pytest

import bench.method
from bench import contract

README = Path(__file__).resolve().parents[2] / "methods" / "README.md"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> type[bench.method.Method]:
    bench.method.discover()
    monkeypatch.setattr(bench.method, "_registry", dict(bench.method._registry))  # forgets the example afterwards
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    before = set(bench.method._registry)
    exec(compile(code[1], str(README), "exec"), {"__name__": "methods.vera"})
    (name,) = set(bench.method._registry) - before
    return bench.method.get(name)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_example_keeps_the_contract(example: type[bench.method.Method], architecture: str, request):
    outcome = contract.check(example(), request.getfixturevalue(f"tiny_{architecture}"))
    assert [f"{clause.name}: {clause.broken}" for clause in outcome if clause.broken] == []


def test_the_example_s_error_is_the_one_the_text_quotes(example: type[bench.method.Method]):
    (error,) = example(rank=0).errors()
    assert f"`{error}`" in README.read_text(encoding="utf-8")

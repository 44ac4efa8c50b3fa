"""The layers: who may import whom, that the parent stays light, and that the core names no method.

Imports are read from the source, not observed, so one that runs on a rare path counts too. Only imports that
do not run do not count: those under `if TYPE_CHECKING`.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bench import listing
from bench.method import discover

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"accelerate", "bitsandbytes", "datasets", "numpy", "peft", "tokenizers", "torch", "transformers", "trl"}

# What each part may import of this project and of others, inside functions or outside; None: any library but Hydra.
# A part may always import itself and `bench` (the version).
_BASIS = {"bench.records", "bench.config", "bench.method", "bench.objective", "bench.paths"}
LAYERS: dict[str, tuple[set[str], set[str] | None]] = {
    "bench.records": (set(), {"platformdirs"}),
    "bench.paths": (set(), set()),
    "bench.lean": ({"bench.records"}, {"torch"}),
    "bench.objective": (set(), set()),
    "bench.capabilities": ({"bench.paths"}, set()),
    "bench.method": ({"methods", "bench.objective"}, set()),
    "bench.config": ({"bench.method", "bench.objective"}, set()),
    "bench.imports": ({"bench.records"}, set()),
    "bench.advise": (
        _BASIS | {"bench.launch", "bench.measure", "bench.models", "bench.report"},
        {"rich", "numpy", "yaml", "platformdirs", "psutil", "huggingface_hub"},
    ),
    "bench.report": (
        {"bench.records", "bench.paths", "bench.capabilities", "bench.objective"},
        {"rich", "jinja2", "numpy", "vl_convert"},
    ),
    "bench.data": (_BASIS, None),
    "bench.models": (_BASIS | {"bench.data"}, None),
    "bench.measure": (_BASIS, None),
    "bench.evaluate": (_BASIS | {"bench.data", "bench.models", "bench.measure"}, None),
    "bench.trained": (_BASIS | {"bench.data", "bench.evaluate", "bench.models"}, None),
    "bench.train": (_BASIS | {"bench.data", "bench.models", "bench.measure"}, None),
}
# Above these: the parent, which starts runs and shows results, and the child, which carries one out.
# The contract suite, which a plugin's tests run, stands beside the child.
# `tunebench data` reads data as a run does, in the parent and without torch.
PARENT = {
    "bench.__main__",
    "bench.clean",
    "bench.app",
    "bench.chat",
    "bench.check",
    "bench.export",
    "bench.launch",
    "bench.listing",
    "bench.pytest_plugin",
    "bench.reproduce",
    "bench.scaffold",
    "bench.serve",
    "bench.status",
    "bench.sweep",
}
CHILD = {"bench.worker", "bench.job", "bench.contract", "bench.forecast", "bench.limits", "bench.trace"}
CHILD_SIDE = {"bench.launch.preload", "bench.launch.child"}  # run in the fork server and its children alone
ONLY_HYDRA = "bench.app"
HYDRA = {"hydra", "omegaconf"}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of both packages by its dotted name."""
    found = {}
    for package in ("bench", "methods"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def _statements(node: ast.AST, inside_functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).removeprefix("typing.") == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inside_functions:
            continue
        yield child
        yield from _statements(child, inside_functions)


def imports(module: str, inside_functions: bool = True) -> set[str]:
    """Dotted names that `module` imports, the standard library left out; this project's with the submodule."""
    found = set()
    for node in _statements(modules()[module], inside_functions):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: import by the full name, not relatively"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & modules().keys()
            found |= submodules or {str(node.module)}
    return {name for name in found if _top(name) not in sys.stdlib_module_names}


def _top(name: str) -> str:
    return name.split(".")[0]


def _own(name: str) -> bool:
    return _top(name) in ("bench", "methods")


def _part(module: str) -> str:
    """`bench.data.pydoc` belongs to `bench.data`; `methods.lora` to `methods`."""
    return ".".join(module.split(".")[:2]) if _top(module) == "bench" else _top(module)


def _modules_of(part: str) -> list[str]:
    return [name for name in modules() if _part(name) == part]


def test_every_part_has_its_layer():
    assert {_part(module) for module in modules()} == {"bench", "methods"} | LAYERS.keys() | PARENT | CHILD


@pytest.mark.parametrize("part", LAYERS)
def test_a_part_imports_only_what_lies_below_it(part: str):
    own, others = LAYERS[part]
    for module in _modules_of(part):
        for name in imports(module):
            if _own(name):
                assert _part(name) in own | {part, "bench"}, f"{module} imports {name}"
            elif others is not None:
                assert _top(name) in others, f"{module} imports {name}"
            else:
                assert _top(name) not in HYDRA, f"{module} imports {name}"


def test_only_the_registry_and_methods_import_methods():
    users = {m for m in modules() if "methods" in {_top(name) for name in imports(m)} and _part(m) != "methods"}
    assert users == {"bench.method"}
    assert "methods" not in imports("bench.method", inside_functions=False)


def test_a_method_imports_only_the_contract_outside_functions():
    """What methods share may be a module of torch's and peft's, if it is imported inside functions alone."""
    waiting = [module for module in _modules_of("methods") if not module.rpartition(".")[2].startswith("_")]
    seen = set(waiting)
    while waiting:
        module = waiting.pop()
        for name in imports(module, inside_functions=False):
            assert name == "bench.method" or _top(name) == "methods", f"{module} imports {name}; do it in a function"
            if name in _modules_of("methods") and name not in seen:
                seen.add(name)
                waiting.append(name)
    assert "methods._peft" in seen


def test_one_part_imports_hydra():
    assert {_part(m) for m in modules() if HYDRA & {_top(name) for name in imports(m)}} == {ONLY_HYDRA}


def test_the_parent_imports_no_deep_learning_library():
    reached, waiting = set(), {module for module in modules() if _part(module) in PARENT} - CHILD_SIDE
    while waiting:
        module = waiting.pop()
        reached.add(module)
        below = imports(module, inside_functions=False)
        assert not HEAVY & {_top(name) for name in below}, f"{module} imports {sorted(below)} at its top level"
        own = {name for name in below if _own(name)}
        waiting |= (own | {_part(name) for name in own}) - reached  # a package's __init__ runs too


def test_the_launcher_knows_settings_records_and_the_machine_s_name_alone():
    for module in set(_modules_of("bench.launch")) - CHILD_SIDE:
        own = {name for name in imports(module) if _own(name)} - {"bench.measure.environment"}
        assert {_part(name) for name in own} <= _BASIS | {"bench", "bench.launch"}, f"{module} imports {sorted(own)}"


def test_the_child_does_not_know_the_parent():
    for module in {"bench.worker", "bench.job"} | CHILD_SIDE:
        for name in imports(module):
            assert _part(name) not in PARENT - {"bench.launch"} | {"bench.report"}, f"{module} imports {name}"


@pytest.mark.parametrize(
    "module", ["bench.report", "bench.config", "bench.app", "bench.advise.cli", "bench.pytest_plugin"]
)
def test_importing_the_light_parts_loads_no_deep_learning_library(module: str):
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        ("--help", 0),
        ("run --help", 0),
        ("run --cfg job", 0),
        ("run method=none", 2),
        ("table --help", 0),
        ("compare --help", 0),
        ("reproduce --help", 0),
        ("import --help", 0),
        ("export --help", 0),
        ("export no-such-run --merge x", 2),
        ("chat --help", 0),
        ("advise --help", 0),
        ("advise --model no-such-model --gpu rtx-4090", 2),
        ("advise --model gpt2 --gpu rtx-4090 --seq 4096", 2),
        ("methods", 0),
        ("methods --capabilities", 0),
        ("check --help", 0),
        ("check method=none", 2),
    ],
)
def test_what_only_answers_loads_no_deep_learning_library(arguments: str, exit_code: int):
    command = [sys.executable, "-X", "importtime", "-m", "bench", *arguments.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == exit_code, done.stderr
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "bench" in loaded
    assert not HEAVY & loaded


# Words that name a method and mean something else too, with what they mean in which modules. They may be compared
# there only with what carries that other meaning, the names on the right.
MEANS: dict[str, tuple[str, set[str], set[str]]] = {
    "full": (
        "how the loss is computed, and a budget",
        {"bench.config.loop", "bench.advise.candidates", "bench.advise.closed_form", "bench.train.preferences",
         "bench.train.trainers", "bench.imports.peft_method_comparison"},
        {"loss"},
    ),
    "prompt": (
        "a column of data",
        {"bench.clean.convert", "bench.data.formats.convert", "bench.data.formats.detect",
         "bench.data.formats.preference", "bench.data.templates", "bench.trace.training"},
        set(),
    ),
    "dpo": ("an objective", {"bench.objective", "bench.train.losses", "bench.train.preferences"}, set()),
    "kto": ("an objective", {"bench.objective", "bench.train.losses", "bench.train.preferences"}, set()),
    "orpo": ("an objective", {"bench.objective", "bench.train.losses", "bench.train.reference_free"}, set()),
    "cpo": ("an objective", {"bench.objective", "bench.train.losses", "bench.train.reference_free"}, set()),
}  # fmt: skip


def _core() -> dict[str, ast.Module]:
    return {name: tree for name, tree in modules().items() if _top(name) == "bench"}


def _texts(node: ast.AST) -> set[str]:
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def _names() -> set[str]:
    return {*discover(), *(name for name, _ in listing.named("method"))}


def test_the_core_names_no_method():
    for module, tree in _core().items():
        allowed = {word for word, (_, modules, _) in MEANS.items() if module in modules}
        named = _texts(tree) & _names() - allowed
        assert not named, f"{module} names {sorted(named)}"


def test_every_other_meaning_is_still_in_use():
    for word, (_, modules, _) in MEANS.items():
        assert word in discover()
        assert [module for module in modules if word not in _texts(_core()[module])] == []


def test_the_core_decides_nothing_by_a_method_s_name():
    for module, tree in _core().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Compare | ast.Match):
                continue
            subject = ast.unparse(node.left if isinstance(node, ast.Compare) else node.subject)
            sides = (
                _texts(node) if isinstance(node, ast.Compare) else {t for c in node.cases for t in _texts(c.pattern)}
            )
            for word in sides & _names():
                meaning = MEANS[word][2]
                assert subject.split(".")[-1] in meaning, f"{module}:{node.lineno} asks whether something is {word!r}"

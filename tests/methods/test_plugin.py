"""A package of somebody else's: installed by pip in an environment of its own, it stands beside the built-in methods.

And what is wrong with a plugin is an error that names file and line, whatever command is typed.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "tests" / "plugin"
SMALL = (
    "budget=smoke", "task.train_examples=64", "task.validation_examples=32",
    "measure.test=false", "measure.forgetting=false", "launch.predict=false",
)  # fmt: skip


def _run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with this tunebench and the plugin; it borrows all libraries from ours."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    ours, theirs = sysconfig.get_paths(), {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", vars=theirs))
    (packages / "borrowed.pth").write_text("\n".join(sorted({ours["purelib"], ours["platlib"]})), encoding="utf-8")
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--no-deps"]
    for arguments in (["--editable", ROOT], ["--no-build-isolation", _copy(tmp_path_factory)]):
        done = _run(*pip, *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder / "bin"


def _copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the plugin, in which a build may leave its files."""
    copy = tmp_path_factory.mktemp("sources") / "plugin"
    for file in PLUGIN.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            place = copy / file.relative_to(PLUGIN)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return copy


@pytest.mark.slow
@pytest.mark.timeout(600)  # a sweep of three runs, and the contract twice
def test_it_is_listed_swept_beside_a_built_in_method_and_checked(installed: Path, tmp_path: Path):
    listed = _run(installed / "tunebench", "methods", cwd=tmp_path)
    line = "Gain: train a factor for every output of every linear layer. (learning rate 0.03)"
    assert listed.stdout.count(line) == 1, listed.stderr

    done = _run(installed / "tunebench", "sweep", "method=lora,gain", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [text.split() for text in done.stdout.splitlines()]
    ok = {row[0] for row in rows if row and row[-1] == "ok"}
    assert {"base", "gain", "lora"} <= ok

    checked = _run(installed / "tunebench", "check", "method=gain", "--family", "llama", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.splitlines()[-1] == "12 kept, 1 unsupported, 0 broken"

    options = ("--tunebench-method", "gain", "--tunebench-family", "llama", "-p", "no:cacheprovider")
    tested = _run(installed / "python", "-m", "pytest", *options, cwd=tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "clauses: 12 kept, 1 unsupported with a reason, 0 failed" in tested.stdout
    assert "13 passed" in tested.stdout


def _broken(folder: Path, code: str, entry: str = "odd = odd") -> Path:
    """What pip would leave of a package `odd` whose module is this code."""
    (folder / "odd.py").write_text(code, encoding="utf-8")
    metadata = folder / "odd-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[tunebench.methods]\n{entry}\n", encoding="utf-8")
    return folder / "odd.py"


def _methods(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT)))}
    command = [sys.executable, "-m", "bench", *(words or ["methods"])]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


METHOD = '''
from dataclasses import dataclass
from bench.method import Method, register

@register
@dataclass
class Odd(Method):
    """Odd: does nothing."""
    name: str = "{name}"
'''
ORIGIN = "entry point odd = 'odd' of the package odd"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\nraise OSError('no')", f"cannot import the method in {ORIGIN}: {{file}}:2: OSError: no"),
        ("x = 1\nimport nowhere", f"cannot import the method in {ORIGIN}: {{file}}:2: "
         "ModuleNotFoundError: No module named 'nowhere'"),
        ("x = (", f"cannot import the method in {ORIGIN}: {{file}}:1: SyntaxError: '(' was never closed"),
        (METHOD.format(name="lora"), f"{ORIGIN}: {{file}}:5 (odd.Odd): there is a method 'lora' already, at {{lora}}"),
        (METHOD.format(name="Odd"), f"{ORIGIN}: {{file}}:5 (odd.Odd): 'Odd' cannot name a method; "
         "use lower-case letters, digits and '-'"),
        (METHOD.format(name="even"), f"{ORIGIN}: {{file}} registers 'even', not 'odd'"),
        ("x = 1", f"{ORIGIN}: {{file}} registers no method, not 'odd'"),
        (METHOD.format(name="odd").replace("@dataclass", ""), f"{ORIGIN}: {{file}}:5 (odd.Odd): "
         "put @dataclass below @register, or its fields are not hyper-parameters"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_plugin_is_said_with_file_and_line(code: str, message: str, tmp_path: Path):
    file = _broken(tmp_path, code)
    done = _methods(tmp_path)
    lora = ROOT / "methods" / "lora.py"
    line = 1 + lora.read_text(encoding="utf-8").splitlines().index("@register")
    where = f"{lora}:{line} (methods.lora.Lora)"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == message.format(file=file, lora=where)


def test_a_setting_that_cannot_be_configured_is_said_with_file_and_line(tmp_path: Path):
    file = _broken(tmp_path, METHOD.format(name="odd") + "    sizes: dict[str, int] = None\n")
    done = _methods(tmp_path, "run", "method=lora")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == (
        f"{file}:5 (odd.Odd): field 'sizes' is not Optional; "
        "a setting is an int, float, str or bool, a list of these, or a method"
    )


def test_a_module_that_is_not_there_is_named(tmp_path: Path):
    _broken(tmp_path, "x = 1", "odd = even")
    done = _methods(tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "cannot import the method in entry point odd = 'even' of the package odd: "
        "ModuleNotFoundError: No module named 'even'"
    )

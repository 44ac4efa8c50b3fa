"""A wheel, built and installed outside the checkout, has everything it needs and makes a real run."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bench import __version__

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "budget=smoke", "task.train_examples=64", "task.validation_examples=32",
    "measure.test=false", "measure.forgetting=false", "launch.predict=false",
)  # fmt: skip


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", str(ROOT), "--no-deps", "--wheel-dir", str(folder))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the wheel's in it and nothing else."""
    folder = tmp_path_factory.mktemp("site-packages")
    _pip("install", str(wheel), "--no-deps", "--target", str(folder))
    return folder


def _python(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed)}  # comes before an editable installation of the checkout
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def _files(*folders: str) -> set[str]:
    """Paths of all files in these folders of the checkout, relative to it, without what git ignores."""
    listed = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {
        p.relative_to(ROOT).as_posix() for p in listed if "__pycache__" not in p.parts and p.name != "checkpoint.pt"
    }


def test_it_holds_both_packages_the_configuration_and_the_embedded_model(wheel: Path):
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    configuration = {f"bench/_{path}" for path in _files("conf")}
    assert names == _files("bench", "methods") | configuration
    assert any(name.endswith(".yaml") for name in configuration)
    assert "bench/models/embedded/tiny-llama/model.safetensors" in names
    assert "bench/models/embedded/tiny-llama/tokenizer.json" in names


def test_its_metadata_names_the_command_the_license_and_the_version(wheel: Path):
    archive = zipfile.ZipFile(wheel)
    info = f"tunebench-{__version__}.dist-info"
    assert "tunebench = bench.__main__:entry" in archive.read(f"{info}/entry_points.txt").decode()
    assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()


def test_installed_elsewhere_it_finds_its_own_files(installed: Path, tmp_path: Path):
    code = "import bench.paths, methods; print(bench.paths.conf_dir()); print(methods.__file__)"
    found = _python(installed, tmp_path, "-c", code)
    assert found.stdout.splitlines() == [str(installed / "bench" / "_conf"), str(installed / "methods" / "__init__.py")]


def test_installed_elsewhere_it_makes_a_real_run(installed: Path, tmp_path: Path):
    done = _python(installed, tmp_path, "-m", "bench", "run", "method=lora", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(path.read_text()) for path in tmp_path.glob("results/runs/*/*/record.json")]
    assert {(record["method"], record["status"]) for record in records} == {("base", "ok"), ("lora", "ok")}

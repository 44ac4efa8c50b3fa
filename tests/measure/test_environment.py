"""Names of hardware, and what a record says of the machine."""

import getpass
import json
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from bench.measure import environment as module
from bench.measure.environment import environment, git_state, hardware_name, slug
from bench.records.schema import Environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """Each test asks its own machine: what was found on another one is forgotten."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(module, "_nvidia_gpu", module._nvidia_gpu.__wrapped__)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763"),
        ("AMD EPYC", "amd-epyc"),
        ("AMD Ryzen 7 5800H with Radeon Graphics", "amd-ryzen-7-5800h"),
        ("Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz", "intel-core-i7-8650u"),
        ("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "intel-xeon-platinum-8375c"),
        ("Apple M2 Pro", "apple-m2-pro"),
        ("NVIDIA GeForce RTX 4090", "nvidia-geforce-rtx-4090"),
        ("../..", "unknown"),
    ],
)
def test_slug(name: str, expected: str):
    assert slug(name) == expected


def _nvidia_smi(monkeypatch, names: dict[str, str]) -> None:
    """A machine whose nvidia-smi knows these GPUs by id, with a torch built for CUDA."""

    def output(*command: str) -> str | None:
        if command[0] != "nvidia-smi":
            return None
        chosen = [part.removeprefix("--id=") for part in command if part.startswith("--id=")]
        found = [names[key] for key in chosen if key in names] if chosen else list(names.values())
        return "\n".join(found) or None

    monkeypatch.setattr(module, "_output", output)
    monkeypatch.setattr(module, "_torch_without_cuda", lambda: False)


def test_a_gpu_names_the_folder_unless_the_cpu_is_asked_for(monkeypatch):
    _nvidia_smi(monkeypatch, {"0": "NVIDIA L40S", "1": "Tesla T4"})
    assert hardware_name() == hardware_name("cuda") == "nvidia-l40s"
    assert hardware_name("cpu").startswith("cpu-")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("1", "nvidia-tesla-t4"), ("1,0", "nvidia-tesla-t4"), ("MIG-unknown", "nvidia-l40s"), ("", "cpu"), ("-1", "cpu")],
)
def test_the_gpu_is_the_first_visible_one(monkeypatch, visible, expected):
    _nvidia_smi(monkeypatch, {"0": "NVIDIA L40S", "1": "Tesla T4"})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert hardware_name().startswith(expected)


def test_a_gpu_that_torch_cannot_use_does_not_count(monkeypatch):
    _nvidia_smi(monkeypatch, {"0": "NVIDIA L40S"})
    monkeypatch.setattr(module, "_torch_without_cuda", lambda: True)
    assert hardware_name().startswith("cpu-")


def test_apple_silicon(monkeypatch):
    monkeypatch.setattr(module, "_nvidia_gpu", lambda _: None)
    monkeypatch.setattr(module, "_apple_silicon", lambda: True)
    monkeypatch.setattr(module, "cpu_name", lambda: "Apple M2")
    monkeypatch.setattr(module, "cpu_cores", lambda: 8)
    assert hardware_name() == hardware_name("mps") == "apple-m2"
    assert hardware_name("cpu") == "cpu-apple-m2-8c"


def test_the_name_needs_no_torch():
    code = "import sys, bench.measure.environment as e; print(e.hardware_name('cpu')); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    name, torch_is_there = done.stdout.split()
    assert name == hardware_name("cpu")
    assert name.endswith(f"-{module.cpu_cores()}c")
    assert torch_is_there == "False"


def test_everything_is_told_and_nobody_is_named():
    found = environment("cpu", "cpu-test-2c")
    assert isinstance(found, Environment)
    assert (found.hardware, found.device, found.driver) == ("cpu-test-2c", "cpu", None)
    assert found.device_name == found.cpu != ""
    assert found.device_memory_bytes == found.host_memory_bytes > 100_000_000
    assert found.cpu_cores >= 1
    assert found.threads >= 1
    assert found.python == platform.python_version()
    assert {"torch", "transformers", "peft", "trl", "datasets", "accelerate", "bitsandbytes"} <= found.libraries.keys()
    assert {"hydra-core", "tokenizers", "numpy"} <= found.libraries.keys()
    words = json.dumps(asdict(found)).replace('"', " ").split()
    assert platform.node() not in words
    assert getpass.getuser() not in words
    assert str(Path.home()) not in json.dumps(asdict(found))


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_git_state(tmp_path: Path):
    assert git_state(tmp_path) == (None, None)
    _git(tmp_path, "init")
    assert git_state(tmp_path) == (None, None)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "a.py").write_text("a = 1\n")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "one")
    commit, dirty = git_state(tmp_path)
    assert len(commit) == 40
    assert dirty is False
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "record.json").write_text("{}")
    assert git_state(tmp_path) == (commit, False)
    (tmp_path / "bench" / "b.py").write_text("b = 1\n")
    assert git_state(tmp_path) == (commit, True)
    assert git_state(tmp_path / "bench") == (None, None)  # inside a checkout, but not one

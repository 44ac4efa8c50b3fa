"""The machine: its name in the folder of results, and everything a record says of it.

The launching process asks for the name, so nothing here imports torch before `environment` is called. Host and
user names are left out of everything.
"""

import contextlib
import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

from bench.records.schema import Environment

LIBRARIES = (
    "tunebench", "torch", "transformers", "peft", "trl", "datasets", "accelerate", "bitsandbytes",
    "hydra-core", "tokenizers", "numpy",
)  # fmt: skip
SOURCES = ("bench", "methods", "conf", "pyproject.toml")  # what makes a checkout's state, below its root
_NOISE = re.compile(r"\((r|tm|c)\)|\b(cpu|processor|\d+-core|\w+-core processor)\b|@.*|\bwith\b.*", re.IGNORECASE)


def hardware_name(device: str = "auto", gpu: str | None = None, processes: int = 1, memory_gib: float = 0.0) -> str:
    """The folder of the results made with this hardware, such as `nvidia-l40s`, `apple-m2` or `cpu-amd-epyc-2c`.

    Args:
        device: as configured, `auto` or a device; `auto` is what torch would find: CUDA, else MPS, else the CPU.
        gpu: number or UUID of the GPU; by default the first that CUDA would see.
        processes: that train together; several are another hardware, such as `2x-nvidia-l40s`.
        memory_gib: limit on the memory of a GPU, which makes it another one, such as `nvidia-l40s-24gib`; 0: none.
    """
    front = f"{processes}x-" if processes > 1 else ""
    name = _nvidia_gpu(gpu or os.environ.get("CUDA_VISIBLE_DEVICES")) if device in ("auto", "cuda") else None
    if name is not None:
        whole = slug(name) if slug(name).startswith("nvidia-") else f"nvidia-{slug(name)}"
        return f"{front}{whole}{f'-{memory_gib:g}gib' if memory_gib else ''}"
    if device == "mps" or (device == "auto" and _apple_silicon()):
        return front + slug(cpu_name())
    return f"{front}cpu-{slug(cpu_name())}-{cpu_cores()}c"


def sees_cuda() -> bool:
    """Whether torch will find an NVIDIA GPU here."""
    return _nvidia_gpu(os.environ.get("CUDA_VISIBLE_DEVICES")) is not None


def slug(name: str) -> str:
    """A device's name in lower case with '-' between words, without trade marks, core counts and clock rates."""
    return re.sub(r"[^a-z0-9.]+", "-", _NOISE.sub(" ", name).lower()).strip("-.") or "unknown"


@functools.cache
def cpu_name() -> str:
    """The processor's model as the system calls it, else its architecture."""
    if platform.system() == "Darwin":
        name = _output("sysctl", "-n", "machdep.cpu.brand_string")
    else:
        name = _cpuinfo_model(Path("/proc/cpuinfo"))
    return name or platform.processor() or platform.machine() or "unknown"


def cpu_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(device: str, hardware: str) -> Environment:
    """Everything a record says of the machine and the software.

    Args:
        device: the one in use: `cpu`, `cuda` or `mps`.
        hardware: the name of the folder of results.
    """
    import psutil
    import torch

    host_memory = int(psutil.virtual_memory().total)
    name, memory, driver = cpu_name(), host_memory, None
    if device == "cuda":
        name, memory = torch.cuda.get_device_name(), int(torch.cuda.get_device_properties().total_memory)
        driver = _first_line(_output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"))
    elif device == "mps":
        memory = int(torch.mps.recommended_max_memory())
    commit, dirty = git_state(Path(__file__).resolve().parents[2])
    return Environment(
        hardware=hardware,
        device=device,
        device_name=name,
        device_memory_bytes=memory,
        host_memory_bytes=host_memory,
        cpu=cpu_name(),
        cpu_cores=cpu_cores(),
        threads=torch.get_num_threads(),
        platform=platform.platform(),
        python=platform.python_version(),
        libraries=_versions(),
        driver=driver,
        git_commit=commit,
        git_dirty=dirty,
    )


def git_state(root: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout at `root` and whether its sources differ from it; (None, None) if it is no checkout.

    A folder inside somebody else's checkout, such as an installation in a virtual environment there, is none.
    """
    top = _output("git", "-C", str(root), "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return None, None
    commit = _output("git", "-C", str(root), "rev-parse", "--verify", "HEAD")
    status = _output("git", "--no-optional-locks", "-C", str(root), "status", "--porcelain", "--", *SOURCES)
    return commit, None if commit is None or status is None else bool(status)


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # a checkout need not be installed
            found[name] = importlib.metadata.version(name)
    return found


def _apple_silicon() -> bool:
    return platform.system() == "Darwin" and platform.machine() == "arm64"


@functools.cache
def _nvidia_gpu(visible: str | None) -> str | None:
    """Name of the first GPU that CUDA would see; None if there is none, or torch is built without CUDA."""
    first = None if visible is None else visible.split(",")[0].strip()
    if first in ("", "-1") or _torch_without_cuda():
        return None
    query = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    chosen = None if first is None else _output(*query, f"--id={first}")
    return _first_line(chosen or _output(*query))  # nvidia-smi may not know the id of a part of a GPU


def _torch_without_cuda() -> bool:
    try:
        return importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return True


def _cpuinfo_model(path: Path) -> str | None:
    try:
        text = path.read_text()
    except OSError:
        return None
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else None


def _first_line(text: str | None) -> str | None:
    return text.splitlines()[0].strip() if text else None


def _output(*command: str) -> str | None:
    """What `command` prints, stripped; None if it cannot be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

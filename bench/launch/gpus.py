"""The NVIDIA GPUs of this machine, as nvidia-smi knows them; the launcher imports no torch."""

import subprocess
from dataclasses import dataclass

QUERY = "index,uuid,name,memory.used,memory.total"


@dataclass(frozen=True)
class Gpu:
    """One GPU; memory in MiB."""

    index: str
    uuid: str
    name: str
    used: int
    total: int


def gpus() -> list[Gpu]:
    """All of them; empty where there is no driver."""
    command = ("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in done.stdout.splitlines():
        index, uuid, name, used, total = (part.strip() for part in line.split(","))
        found.append(Gpu(index, uuid, name, _mib(used), _mib(total)))
    return found


def _mib(text: str) -> int:
    return int(text) if text.isdigit() else 0  # "[N/A]" where memory is shared with the host

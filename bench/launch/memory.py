"""Host memory of child processes, seen from outside, and the limit on it."""

from pathlib import Path

import psutil

GIB = 1 << 30
SHARE = 0.9  # of the machine's memory, that a run may have if nobody says otherwise


def limit_bytes(gib: float) -> int:
    """What `launch.memory` stands for."""
    return int(gib * GIB) if gib else int(SHARE * psutil.virtual_memory().total)


def resident(pid: int) -> tuple[int, int]:
    """Resident bytes of a process, now and at most since it last reset its peak; (0, 0) if it has ended."""
    try:
        words = Path(f"/proc/{pid}/status").read_text().split()
    except OSError:  # no such process, or not Linux
        return _resident_elsewhere(pid)
    if "VmRSS:" not in words:  # it has ended, and nobody has waited for it yet
        return 0, 0
    now, peak = (int(words[words.index(key) + 1]) * 1024 for key in ("VmRSS:", "VmHWM:"))
    return now, peak


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    try:
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def _resident_elsewhere(pid: int) -> tuple[int, int]:
    try:
        now = int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0, 0
    return now, now

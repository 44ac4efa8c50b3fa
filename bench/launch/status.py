"""How far running sweeps are, for whoever asks from another terminal: one small file for each sweep.

`tunebench status` reads them. A sweep holds the lock beside its file as long as it lives, so a file without one is
what a killed sweep has left.
"""

import contextlib
import json
import os
import shlex
import socket
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType

from bench.launch.locks import Lock, is_held
from bench.launch.progress import Progress, Row

FOLDER = ".sweeps"
INTERVAL = 2.0  # seconds between two writings


class StatusFile:
    """The file of this process's sweep, from `with` to its end. A disk that refuses it is no reason to stop.

    Args:
        hardware: the folder of the runs on this hardware.
    """

    def __init__(self, hardware: Path) -> None:
        self._path = hardware / FOLDER / f"{socket.gethostname()}-{os.getpid()}.json"
        self._lock: Lock | None = None
        self._written = float("-inf")

    def __enter__(self) -> "StatusFile":
        with contextlib.suppress(OSError):
            self._lock = Lock.take(self._path.with_suffix(".lock"))
            for path, _, alive in sweeps(self._path.parent):
                if not alive:
                    _remove(path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            _remove(self._path)
        if self._lock is not None:
            self._lock.release()

    def show(self, progress: Progress) -> None:
        """Write how far the sweep is, unless that was done a moment ago."""
        now = time.monotonic()
        if self._lock is None or now - self._written < INTERVAL:
            return
        self._written = now
        progress.command = progress.command or shlex.join(["tunebench", *sys.argv[1:]])
        data = asdict(progress) | {"pid": os.getpid(), "now": now}
        temporary = self._path.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(data), encoding="utf-8")
            os.replace(temporary, self._path)


def sweeps(folder: Path) -> list[tuple[Path, Progress, bool]]:
    """Every sweep whose file is in `folder`: the file, how far it is, and whether it is still alive."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            progress = _progress(data)
        except (OSError, ValueError, KeyError, TypeError):  # it has just ended, or is not ours
            continue
        found.append((path, progress, is_held(path.with_suffix(".lock"))))
    return found


def _progress(data: dict[str, object]) -> Progress:
    """As it was written; times of the other process's clock are moved to ours."""
    shift = time.monotonic() - float(data["now"])  # type: ignore[arg-type]
    rows = [Row(**row) for row in data.pop("rows")]  # type: ignore[attr-defined]
    for row in rows:
        row.started += shift
    known = {f.name for f in fields(Progress)}
    return Progress(**{key: value for key, value in data.items() if key in known}, rows=rows)  # type: ignore[arg-type]


def _remove(path: Path) -> None:
    for each in (path, path.with_suffix(".lock"), path.with_suffix(".tmp")):
        each.unlink(missing_ok=True)

"""What the page tells of a single run: its record, with shared parts said once, and the end of its log."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.records.store import as_plain
from bench.report.sections import Stored

LOG = "worker.log"
LINES, BYTES = 40, 6000  # of a log's end
SHARED = ("config", "environment", "data")  # parts of a record that many have in common
RUNS = 2000  # whose details the page holds; of more, the newest


class Details:
    """Collects runs; `parts` are the shared parts, which a run names by their number."""

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self._known: dict[str, int] = {}

    def of(self, run: Stored) -> dict[str, Any]:
        """The record as plain values, with the numbers of its shared parts, its folder and the end of its log."""
        found = as_plain(run.record)
        for name in SHARED:
            part = found[name]
            if name == "config":
                part = {key: value for key, value in part.items() if key != "seed"}
            found[name] = self._number(part)
        found["folder"] = "/".join(run.folder.parts[-2:]) if run.folder else ""
        found["log"] = log_tail(run.folder) if run.folder else ""
        return found

    def _number(self, part: Any) -> int:
        key = json.dumps(part, sort_keys=True)
        if key not in self._known:
            self._known[key] = len(self.parts)
            self.parts.append(part)
        return self._known[key]


def newest(runs: Iterable[Stored]) -> set[int]:
    """The ids of the objects of the newest runs, as many as the page holds."""
    return {id(run) for run in sorted(runs, key=lambda run: run.record.started_at)[-RUNS:]}


def log_tail(folder: Path) -> str:
    """The last lines of what the run printed; empty if it left no log."""
    try:
        with (folder / LOG).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = text.splitlines()
    return "\n".join(lines[-LINES:])

"""How far a sweep is: what the views show and what `tunebench status` reads."""

import time
from dataclasses import dataclass, field
from typing import Any

from bench.records.schema import Status


@dataclass
class Row:
    """One run at work. Times are seconds since it started, memory is bytes."""

    run_id: str
    started: float  # by time.monotonic()
    seconds: float = 0.0
    phase: str = "starting"
    step: int | None = None
    steps: int | None = None
    share: float | None = None  # of the phase
    loss: float | None = None
    tokens_per_s: float | None = None
    device_bytes: int | None = None  # that the worker holds on its GPU
    predicted_bytes: int | None = None  # that training was predicted to make it hold at most
    host_bytes: int | None = None  # resident
    left_s: float | None = None  # of the phase
    _since: tuple[float, float] | None = None  # when the phase's share was first told, and that share

    def take(self, event: dict[str, Any]) -> None:
        """Note what the worker says: a phase, a step, or examples evaluated."""
        if event["event"] == "phase":
            self.phase = str(event["name"])
            self.share = self.left_s = self.step = None
            self._since = None
        elif event["event"] == "step":
            self.step, self.steps, self.share = event["step"], event["steps"], event["budget"]
            self.loss, self.tokens_per_s = event["loss"], event["tokens_per_s"]
            self.device_bytes = event.get("memory_bytes")
        elif event["event"] == "prediction":
            self.predicted_bytes = event["memory_bytes"]
        elif event["event"] == "evaluate":
            if event["split"] not in self.phase:
                self.phase, self._since = f"evaluate {event['split']}", None
            self.step, self.steps = event["done"], event["of"]
            self.share = event["done"] / event["of"] if event["of"] else None
        if self.share is not None:
            self._estimate(self.share)

    def _estimate(self, share: float) -> None:
        """The time left, by how fast the share has grown since it was first told; a continued run starts above 0."""
        now = time.monotonic()
        if self._since is None:
            self._since = (now, share)
        began, first = self._since
        self.left_s = (now - began) * (1 - share) / (share - first) if share > first else None


@dataclass
class Progress:
    """A sweep."""

    command: str = ""
    total: int = 0  # runs that this sweep does
    before: int = 0  # runs that were done already
    ended: dict[str, int] = field(default_factory=dict)  # how many, by status
    rows: list[Row] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # of the ended runs
    waiting_for: str = ""  # why nothing more is started

    @property
    def queued(self) -> int:
        """Runs that have not started yet."""
        return max(0, self.total - sum(self.ended.values()) - len(self.rows))

    @property
    def failed(self) -> int:
        """Runs that ended neither measured nor refused."""
        return sum(n for status, n in self.ended.items() if status not in (Status.OK, Status.UNSUPPORTED))

    def left_s(self) -> float | None:
        """Seconds until the sweep ends, if the other runs take as long as those before; None before the first end."""
        if not self.seconds:
            return None
        mean, now = sum(self.seconds) / len(self.seconds), time.monotonic()
        open_runs = sum(max(0.0, mean - (now - row.started), row.left_s or 0.0) for row in self.rows)
        return (self.queued * mean + open_runs) / max(1, len(self.rows))

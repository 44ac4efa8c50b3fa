"""What the launcher tells a run about the attempts before this one, in a file of the run's folder."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.records import store

ATTEMPT = "attempt.json"


@dataclass
class Attempt:
    """An attempt at a run.

    Attributes:
        micro_batch_size: examples at once, smaller than configured after an attempt that ran out of memory.
        history: how the earlier attempts ended, in words.
    """

    micro_batch_size: int | None = None
    history: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> "Attempt":
        """The attempt that `folder` is prepared for; a first one where nothing is written."""
        try:
            return cls(**json.loads((folder / ATTEMPT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # none, or not one of ours
            return cls()

    def write(self, folder: Path) -> None:
        """Prepare `folder`."""
        store.replace(folder / ATTEMPT, json.dumps(asdict(self)) + "\n")

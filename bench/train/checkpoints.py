"""The checkpoints of an unfinished training: written whole or not at all, the newest two kept, gone at the end.

transformers writes the optimizer, the schedule, the data position and the random generators; of the model it gets
what trains alone, as `adapt` with the same seed makes the rest again. A checkpoint counts once its mark is there.
Numbers decide which is newer, not times: a clock can be set back.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerState, TrainingArguments

from bench.records import store
from bench.train.meter import Step

KEPT = 2
MARK = "whole"


class Keeper(TrainerCallback):
    """Marks what a trainer has saved, and removes what is older than the newest two.

    The mark is off while a checkpoint is read, so that one that cannot be read is not tried for ever.
    """

    def __init__(self, resumed: Path | None, log: Path) -> None:
        self._resumed, self._log = resumed, log
        if resumed is not None:
            (resumed / MARK).unlink(missing_ok=True)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: Any, **_: Any) -> None:
        """The checkpoint has been read."""
        if self._resumed is not None and state.is_world_process_zero:
            (self._resumed / MARK).touch()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: Any, **_: Any) -> None:
        """A checkpoint is written."""
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir))
            with self._log.open("rb") as file:
                os.fsync(file.fileno())  # a checkpoint is of no use without the steps before it
            (folder / f"checkpoint-{state.global_step}" / MARK).touch()
            for old in _all(folder)[:-KEPT]:
                shutil.rmtree(old)


def newest(folder: Path, steps: int) -> Path | None:
    """The newest whole checkpoint in `folder` after at most so many steps, if there is one."""
    return next((path for path in reversed(_all(folder)) if (path / MARK).exists() and number(path) <= steps), None)


def number(checkpoint: Path) -> int:
    """The step after which it was written."""
    return int(checkpoint.name.rpartition("-")[2])


def steps(log: Path) -> list[Step]:
    """The steps that a steps.jsonl tells of without a gap; none if it is not there or damaged."""
    try:
        lines = store.read_lines(log)
        found = [Step(**line) for line in lines]
    except (OSError, store.DamagedRecord, TypeError):
        return []
    return found if [step.step for step in found] == list(range(1, len(found) + 1)) else []


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"), key=number)

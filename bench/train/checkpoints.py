"""The checkpoints of an unfinished training: written whole or not at all, the newest two kept, gone at the end.

transformers writes the optimizer, the schedule, the data position and the random generators; of the model it gets
what trains alone, as `adapt` with the same seed makes the rest again. A checkpoint counts once its mark is there.
Numbers decide which is newer, not times: a clock can be set back.
"""

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

    def __init__(self, resumed: Path | None) -> None:
        self._resumed = resumed
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
            (folder / f"checkpoint-{state.global_step}" / MARK).touch()
            for old in _all(folder)[:-KEPT]:
                shutil.rmtree(old)


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint in `folder`, if there is one."""
    return next((path for path in reversed(_all(folder)) if (path / MARK).exists()), None)


def number(checkpoint: Path) -> int:
    """The step after which it was written."""
    return int(checkpoint.name.rpartition("-")[2])


def steps(log: Path, number: int, cut: bool) -> list[Step]:
    """The first `number` steps in a steps.jsonl; with `cut` the file is cut after them.

    Raises:
        DamagedRecord: it has fewer, or one of them is damaged.
    """
    lines = store.read_lines(log)[:number] if number else []
    if [line.get("step") for line in lines] != list(range(1, number + 1)):
        raise store.DamagedRecord(log, f"lacks steps before step {number}")
    if cut:
        store.write_lines(log, lines)
    return [Step(**line) for line in lines]


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"), key=number)

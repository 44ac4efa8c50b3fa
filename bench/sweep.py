"""Carry out runs and show what came of them: the last step of `tunebench run` and `tunebench sweep`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.config import Run
from bench.launch.sweep import folder_of, launch, with_bases
from bench.launch.view import open_view
from bench.records import store
from bench.records.schema import Record, Status
from bench.report.terminal import print_table


def carry_out(runs: Sequence[Run]) -> int:
    """Measure what is not measured yet, print the table of all these runs, and say where everything lies.

    Returns:
        0 if every run is ok or unsupported, 1 if one ended otherwise, 130 if the user interrupted.
    """
    view = open_view()
    records = launch(list(runs), view)
    folders = [folder_of(run) for run in with_bases(list(runs))]
    found = {folder: record for folder in folders if (record := _read(folder)) is not None}
    if found:
        print_table(list(found.values()), list(found))
        print(f"\nRecords: {folders[0].parent}")
        print("More: tunebench table --help (Markdown, CSV, HTML, LaTeX, JSON; other columns and groupings)")
    return 130 if view.interrupted else _exit_code(records)


def validation_loss(run: Run) -> float | None:
    """The validation loss of a finished run, which a Hydra sweeper minimises; None if it has none."""
    record = _read(folder_of(run))
    return None if record is None or record.evaluation is None else record.evaluation.validation.loss


def _read(folder: Path) -> Record | None:
    path = folder / store.RECORD
    if not path.exists():
        return None  # interrupted before it began
    try:
        return store.read(path)
    except store.DamagedRecord as error:
        print(error, file=sys.stderr)
        return None


def _exit_code(records: Sequence[Record]) -> int:
    return 0 if {record.status for record in records} <= {Status.OK, Status.UNSUPPORTED} else 1

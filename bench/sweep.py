"""Carry out runs and show what came of them: the last step of `tunebench run` and `tunebench sweep`."""

import contextlib
import importlib
import multiprocessing as mp
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.config import Run
from bench.launch.devices import DeviceError
from bench.launch.sweep import folder_of, launch, with_bases
from bench.launch.view import View, open_view
from bench.records import store
from bench.records.schema import Record, Status
from bench.report.terminal import print_table


def carry_out(runs: Sequence[Run]) -> int:
    """Measure what is not measured yet, print the table of all these runs, and say where everything lies.

    Returns:
        0 if every run is ok or unsupported, 1 if one ended otherwise, 130 if the user interrupted.
    """
    view = open_view()
    records, planned = launch(list(runs), view), with_bases(list(runs))
    _show(_read_all(map(folder_of, planned)))
    if view.interrupted:
        done = len(planned) - view.stopped - view.left
        counts = f"{done} of {len(planned)} runs are done, {view.stopped} interrupted, {view.left} not started"
        view.note(f"stopped: {counts}; type the same command again to go on")
        return 130
    return _exit_code(records) if len(records) == len(planned) else 1


def do_one(run: Run, where: Path, command: list[str]) -> list[Path]:
    """Do one run of a sweep that another process sees to the end of, with lines of progress alone.

    Args:
        run: planned and checked.
        where: the folder in which the sweep was typed, which relative paths start from.
        command: the sweep as it was typed, as `sys.argv`.

    Returns:
        The folders of its record and of its base's. Empty if this machine cannot do it: other jobs are to go on.

    Raises:
        KeyboardInterrupt: the user stopped the run; its record says so.
    """
    view = View(sys.stderr)
    try:
        with contextlib.chdir(where), _as_the_command(command):
            launch([run], view)
            folders = [folder_of(each) for each in with_bases([run])]
    except (OSError, DeviceError) as error:
        print(f"{run.run_id()} is not done: {error}", file=sys.stderr, flush=True)
        return []
    if view.interrupted:
        raise KeyboardInterrupt
    return folders


@contextlib.contextmanager
def _as_the_command(command: list[str]) -> Iterator[None]:
    """Pass for a process of the command, in what is one of a launcher's own.

    `tunebench status` shows the words of the command. And multiprocessing has a child import its parent's main module,
    here joblib's or Ray's, and take over its default start method, which joblib's processes call by a name that is
    known nowhere else.
    """
    words, main, method = sys.argv, sys.modules["__main__"], mp.get_start_method(allow_none=True)
    sys.argv, sys.modules["__main__"] = command, importlib.import_module("bench.__main__")
    mp.set_start_method("spawn", force=True)
    try:
        yield
    finally:
        sys.argv, sys.modules["__main__"] = words, main
        mp.set_start_method(method, force=True)


def sum_up(runs: Sequence[Run], folders: Iterable[Path]) -> int:
    """Print the table of runs that were done elsewhere.

    Args:
        runs: of the sweep.
        folders: where their records are, and those of their bases.

    Returns:
        0 if every run is ok or unsupported, 1 if one ended otherwise or has no record.
    """
    found = _read_all(folders)
    _show(found)
    planned = {run.run_id() for run in with_bases(list(runs))}
    missing = planned - {record.run_id for record in found.values()}
    if missing:
        left = f"{len(missing)} of {len(planned)} runs have no record"
        print(f"{left}; type the same command again to do what is missing", file=sys.stderr)
    return 1 if missing else _exit_code(found.values())


def found_anywhere(runs: Sequence[Run]) -> list[Path]:
    """The folders of these runs and of their bases that are there, whatever hardware they were done on."""
    places = [(Path(run.results).absolute() / "runs", run.run_id()) for run in with_bases(list(runs))]
    return [machine / run_id for root, run_id in places if root.is_dir() for machine in sorted(root.iterdir())]


def validation_loss(run: Run) -> float | None:
    """The validation loss of a finished run, which a Hydra sweeper minimises; None if it has none."""
    record = _read(folder_of(run))
    return None if record is None or record.evaluation is None else record.evaluation.validation.loss


def _read_all(folders: Iterable[Path]) -> dict[Path, Record]:
    """The records in these folders, each once, in their order."""
    return {folder: record for folder in dict.fromkeys(folders) if (record := _read(folder)) is not None}


def _show(found: dict[Path, Record]) -> None:
    if found:
        print_table(list(found.values()), list(found))
        print(f"\nRecords: {', '.join(dict.fromkeys(str(folder.parent) for folder in found))}")
        print("More: tunebench table --help (Markdown, CSV, HTML, LaTeX, JSON; other columns and groupings)")


def _read(folder: Path) -> Record | None:
    path = folder / store.RECORD
    if not path.exists():
        return None  # interrupted before it began
    try:
        return store.read(path)
    except store.DamagedRecord as error:
        print(error, file=sys.stderr)
        return None


def _exit_code(records: Iterable[Record]) -> int:
    return 0 if {record.status for record in records} <= {Status.OK, Status.UNSUPPORTED} else 1

"""`tunebench reproduce`: a run again with its record's exact configuration, and whether it gives the same."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import config
from bench.config import Hardware, Launch, Run
from bench.method import PluginError, did_you_mean
from bench.records import store
from bench.records.keys import flat
from bench.records.named import RESULTS, one
from bench.records.schema import Record
from bench.report.arguments import command
from bench.report.reproduction import TOLERANCE, Reproduction, judge
from bench.report.sections import Stored
from bench.report.terminal import make_console
from bench.trained.find import finished, recorded

if TYPE_CHECKING:
    from rich.console import Console

OUT = Path("results/reproduced")
OVERRIDES = {"launch": Launch, "hardware": Hardware}  # how and where; all else is what is reproduced
DESCRIPTION = """Do a run again, from its record's exact configuration and into another folder of results, and compare.
On the same CPU set-up (hardware name, processor, threads, versions of all libraries) every loss and metric has to be
the same to the last bit; elsewhere losses have to be within the tolerance. All that differs around them is listed."""
EXAMPLES = f"""RUN is a run's folder, its record.json, or its id below {RESULTS}.

examples:
  tunebench reproduce lora-tiny-llama-pydoc-s0-814cb6d8
  tunebench reproduce results/runs/nvidia-l40s/lora-llama-3.2-1b-gsm8k-s0-0a1b2c3d launch.devices=[1]
  tunebench reproduce FOLDER hardware.device=cpu --tolerance 0.05

exit code: 0 reproduced, 1 not, 2 it cannot be run (an imported record; settings or files that are gone)
"""


class CannotRun(ValueError):
    """The record cannot be run again; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 reproduced, 1 not, 2 it cannot be run, 130 interrupted."""
    options = _parser().parse_intermixed_args(argv)
    try:
        folder, record = one(options.run)
        run, notes = again(record, options.out, options.overrides)
        return _carry_out(Stored(record, folder), run, notes, options.tolerance)
    except ValueError as error:
        print(f"tunebench reproduce: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = command("reproduce", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("run", metavar="RUN", help="the run: its folder, record.json or id")
    add("overrides", nargs="*", metavar="KEY=VALUE", help="keys of launch and hardware, such as launch.devices=[1]")
    add("--out", type=Path, default=OUT, metavar="FOLDER", help=f"where its record goes (default: {OUT})")
    words = f"largest relative difference of a loss (default: none on the same CPU set-up, else {TOLERANCE:g})"
    add("--tolerance", type=tolerance, metavar="X", help=words)
    return parser


def tolerance(text: str) -> float:
    """A relative difference, as argparse reads it."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be >= 0 and < 1, got {text}")
    return value


def again(record: Record, out: Path, overrides: Sequence[str] = ()) -> tuple[Run, list[str]]:
    """The run of `record`, into the folder `out`, and what is to be known about it.

    Raises:
        CannotRun: others made the record, or it has settings that this version lacks.
        ValueError: an override that cannot be used.
    """
    try:
        run = recorded(record)
    except ValueError as error:
        raise CannotRun(str(error)) from error
    known = set(flat(config.to_dict(run)))
    notes = []
    added = sorted(known - set(flat(record.config)))
    if added:
        notes.append(f"settings that the record does not know stand at their defaults: {', '.join(added)}")
    run = replace(run, results=str(out), launch=replace(run.launch, rerun="all"), tracker="none")
    _with_stage_before(run)
    for override in overrides:
        _override(run, override)
    return run, notes


def _with_stage_before(run: Run) -> None:
    """Have the stage before done again too; a run that was named must still be there.

    Raises:
        CannotRun: it is not, or has no weights.
    """
    before = run.stage_before()
    if before is not None:
        run.start = replace(before, results=run.results, launch=replace(before.launch, rerun="all"), tracker="none")
        _with_stage_before(run.start)
    elif run.start is not None and run.method is not None:
        try:
            finished(run.method.start_from)
        except ValueError as error:
            raise CannotRun(f"method.start_from: {error}") from error


def _override(run: Run, text: str) -> None:
    """Set one key of `launch` or `hardware`."""
    key, equals, written = text.partition("=")
    part, _, name = key.partition(".")
    known = [f"{group}.{f.name}" for group, cls in OVERRIDES.items() for f in fields(cls)]
    if not equals or key not in known:
        raise ValueError(f"{text}: a reproduction takes keys of launch and hardware alone{did_you_mean(key, known)}")
    group = getattr(run, part)
    kind: Any = type(getattr(group, name))
    if kind is list:
        value: Any = [item.strip() for item in written.strip("[]").split(",") if item.strip()]
    elif kind is bool:
        value = {"true": True, "false": False}.get(written.lower())
    else:
        try:
            value = kind(written)
        except ValueError:
            value = None
    if value is None:
        raise ValueError(f"{key} must be {kind.__name__}, got {written!r}")
    setattr(group, name, value)


def _carry_out(original: Stored, run: Run, notes: list[str], tolerance: float | None) -> int:
    """Launch the run as `tunebench run` does, compare, and show what came of it."""
    from bench.app.compose import UserError
    from bench.app.plan import check
    from bench.launch.devices import DeviceError
    from bench.launch.queue import ResultsError
    from bench.launch.sweep import folder_of, launch
    from bench.launch.view import open_view

    before = run.data.content, run.model.content
    try:
        run = check(run)
        if (run.data.content, run.model.content) != before:
            notes.append("local files of the data or the model are no longer those of the record")
        folder = folder_of(run)
        if original.folder is not None and folder.resolve() == original.folder.resolve():
            raise CannotRun(f"--out: {run.results} holds the original; name another folder")
        view = open_view()
        launch([run], view)
    except (UserError, PluginError, DeviceError, ResultsError) as error:
        raise CannotRun(str(error)) from error
    if view.interrupted:
        return 130
    try:
        repetition = Stored(store.read(folder / store.RECORD), folder)
    except store.DamagedRecord as error:
        raise CannotRun(str(error)) from error
    found = judge(original, repetition, tolerance)
    show(found, original, repetition, notes, make_console())
    return 1 if found.failed else 0


def show(found: Reproduction, original: Stored, repetition: Stored, notes: Sequence[str], console: "Console") -> None:
    """Print what was compared, what differs in the environment, and the verdict."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for head in ("", "original", "again", "relative difference"):
        made.add_column(head, overflow="fold")
    for check in found.checks:
        gap = "none" if check.equal else "" if check.gap == float("inf") else f"{check.gap:.3g}"
        cells = (check.name, check.first[:24], check.second[:48], gap)
        made.add_row(*map(Text, cells), style="" if check.holds(found.tolerance) else "bold red")
    console.print(made)
    if found.environment:
        places = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
        for head in ("environment", "original", "again"):
            places.add_column(head, overflow="fold")
        for each in found.environment:
            places.add_row(*map(Text, (each.key, each.first, each.second)))
        console.print(places)
    else:
        console.print("environment: no difference")
    for note in notes:
        console.print(Text(f"Note: {note}."))
    console.print(Text(f"original: {original.folder}\nagain:    {repetition.folder}", style="dim"))
    console.print(Text(found.verdict, style="bold"))

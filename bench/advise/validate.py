"""`tunebench advise --validate`: how far the predictions were from what was measured, over a store of records."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.advise import errors, refit
from bench.advise.baselines import BASELINES
from bench.advise.points import CLOSED, FIGURES, OURS, Compared, Point, compare
from bench.advise.questions import PEFT_LONGEST
from bench.advise.telling import answers
from bench.records.store import scan
from bench.report.arguments import command

PLACES = (Path("results/runs"), Path("results/imported"), Path("results/reference"))
BY = ("method", "model", "card")
DESCRIPTION = """Compare what was predicted of runs with what was measured: of runs of tunebench what they predicted
before they trained, of imported runs what is predicted now from their configuration; beside the formulas
that others use."""
EXAMPLES = """examples:
  tunebench advise --validate                       the records below results/
  tunebench advise --validate results/runs/cpu-amd-epyc-2
  tunebench advise --validate results/imported --longest 768
  tunebench advise --validate --again --json > errors.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 for a request that cannot be met."""
    options = _parser().parse_args(argv)
    places = options.results or [place for place in PLACES if place.exists()]
    missing = [place for place in places if not place.exists()]
    if missing or not places:
        what = f"there is no {missing[0]}" if missing else "there are no results here; name a folder of records"
        print(f"tunebench advise --validate: {what}", file=sys.stderr)
        return 2
    found, damaged = scan(places)
    for error in damaged:
        print(f"tunebench advise --validate: left out: {error}", file=sys.stderr)
    if not found:
        where = ", ".join(map(str, places))
        what = (
            f"no record in {where} can be used" if damaged else f"no records in {where}; `tunebench sweep` makes some"
        )
        print(f"tunebench advise --validate: {what}", file=sys.stderr)
        return 2
    compared = compare(list(found.values()), answers, options.longest, options.again)
    if options.json:
        print(json.dumps(as_data(compared), indent=1))
    else:
        _show(compared, options.longest)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command("advise --validate", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("results", nargs="*", type=Path, help=f"folders of records; default: {', '.join(map(str, PLACES))}")
    add("--validate", action="store_true", help=argparse.SUPPRESS)
    add("--again", action="store_true", help="predict runs of tunebench anew, with this version")
    add(
        "--longest", type=int, default=PEFT_LONGEST, metavar="TOKENS",
        help=f"longest batch of imported runs, which do not tell it; default {PEFT_LONGEST}",
    )  # fmt: skip
    add("--json", action="store_true", help="all points and errors as JSON")
    return parser


def as_data(compared: Compared) -> dict[str, Any]:
    """All of it, ready for JSON; errors are shares."""
    figures = {}
    for figure, part in _by_figure(compared.points).items():
        found = {name: errors.summary(part, name) for name in (OURS, CLOSED, *BASELINES)}
        figures[figure] = {
            "errors": {name: asdict(each) for name, each in found.items() if each is not None},
            "by": {key: {name: asdict(each) for name, each in errors.groups(part, key).items()} for key in BY},
        }
        if figure != "step":
            figures[figure]["fit"] = asdict(errors.fit(part, figure != "live"))
    without = {key: errors.summary(refit.without_own(compared, key)) for key in BY}
    return {
        "figures": figures,
        "step_fitted_without_own": {key: asdict(each) for key, each in without.items() if each is not None},
        "points": [asdict(point) for point in compared.points],
        "left_out": dict(compared.left_out),
    }


def _by_figure(compared: Sequence[Point]) -> dict[str, list[Point]]:
    parts = {figure: [point for point in compared if point.figure == figure] for figure in FIGURES}
    return {figure: part for figure, part in parts.items() if part}


def _show(compared: Compared, longest: int) -> None:
    console = Console()
    for figure, part in _by_figure(compared.points).items():
        console.print(_errors(figure, part))
        if figure != "step":
            console.print(_fit(figure, part))
        for key in BY:
            if len({getattr(point, key) for point in part}) > 1:
                console.print(_summaries(f"{OURS} by {key}", key, errors.groups(part, key)))
    without = {key: errors.summary(refit.without_own(compared, key)) for key in BY}
    if any(without.values()):
        title = f"{FIGURES['step']}: told by constants fitted to runs of other methods, models or cards"
        console.print(_summaries(title, "other", without))
    if not compared.points:
        console.print("no run has both a prediction and a measurement")
    if any(point.figure in ("reserved", "step") for point in compared.points):
        console.print(f"Imported runs: the longest batch is taken as {longest} tokens (--longest).")
    for reason, count in compared.left_out.most_common():
        console.print(f"{count} runs left out: {reason}", highlight=False)


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column(first)
    for each in others:
        table.add_column(each, justify="right")
    return table


def _errors(figure: str, part: Sequence[Point]) -> Table:
    columns = ("runs", "MAPE", "median", "p95", "bias", "under by > 2%", "in interval")
    table = _table(f"{FIGURES[figure]}: errors of predictions", "estimator", *columns)
    for name in (OURS, *((CLOSED, *BASELINES) if figure != "step" else ())):
        found = errors.summary(part, name)
        if found is None:
            table.add_row(name, "0")
            continue
        inside = "" if found.inside is None else f"{found.inside:.0%}"
        shares = (f"{each:.1%}" for each in (found.mape, found.median, found.p95))
        table.add_row(name, str(found.count), *shares, f"{found.bias:+.1%}", f"{found.under:.0%}", inside)
    return table


def _fit(figure: str, part: Sequence[Point]) -> Table:
    cards = figure != "live"
    sizes = f"cards of {', '.join(map(str, errors.CARDS))} GiB" if cards else "limits of 0.8 to 1.25 x the measured"
    found = errors.fit(part, cards)
    table = _table(f"does it fit? runs x {sizes}", "", *found.fitting)
    for name, counts in (("it fits", found.fitting), ("it does not", found.not_fitting)):
        table.add_row(name, *map(str, counts.values()))
    return table


def _summaries(title: str, first: str, found: Mapping[str, errors.Summary | None]) -> Table:
    table = _table(title, first, "runs", "MAPE", "median", "p95", "bias", "under by > 2%")
    for name, each in found.items():
        if each is not None:
            shares = (f"{share:.1%}" for share in (each.mape, each.median, each.p95))
            table.add_row(name, str(each.count), *shares, f"{each.bias:+.1%}", f"{each.under:.0%}")
    return table


if __name__ == "__main__":
    sys.exit(main())

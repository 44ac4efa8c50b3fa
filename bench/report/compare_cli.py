"""`tunebench compare`: two runs or two sets of runs, side by side."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.records.named import RESULTS, named
from bench.records.schema import Record
from bench.report.arguments import command
from bench.report.compare import Comparison, compare, listed
from bench.report.compare_formats import FORMATS, show
from bench.report.terminal import make_console
from bench.report.visible import visible

SUFFIXES = {".md": "md", ".json": "json"}
DESCRIPTION = """Show two runs side by side, or two sets of runs: what differs in settings and environment, and every
figure with its difference, B minus A. A difference has a 95% interval where both sides have the same seeds, or,
with one run each, the same test examples."""
EXAMPLES = f"""A and B are each a run's folder or record.json, the id of a run below {RESULTS}, or a folder or pattern
with several runs, which are matched by method and configuration.

examples:
  tunebench compare lora-tiny-llama-pydoc-s0-814cb6d8 full-tiny-llama-pydoc-s0-c293d449
  tunebench compare results/runs/nvidia-l40s results/runs/nvidia-h100     two machines
  tunebench compare 'results/runs/*/lora-*' 'results/runs/*/qlora-*'      two methods, over their seeds
  tunebench compare old/runs results/runs --format md > changes.md        md, json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 for a request that cannot be met."""
    options = _parser().parse_args(argv)
    try:
        names = options.first, options.second
        comparison = compare(_records(names[0]), _records(names[1]), names)
        _deliver(comparison, options)
    except (ValueError, OSError) as error:
        print(f"tunebench compare: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command("compare", DESCRIPTION, EXAMPLES)
    parser.add_argument("first", metavar="A", help="a run, or a folder or pattern with several")
    parser.add_argument("second", metavar="B", help="what it is compared with")
    parser.add_argument(
        "--format", choices=["terminal", *FORMATS], help="default: by the ending of --out, else terminal"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write to FILE instead of standard output: .md, .json")
    return parser


def _records(text: str) -> dict[Path, Record]:
    found, damaged = named(text)
    for error in damaged:
        print(f"tunebench compare: left out: {visible(str(error))}", file=sys.stderr)
    return found


def _deliver(comparison: Comparison, options: argparse.Namespace) -> None:
    if not comparison.pairs:
        raise ValueError(
            f"nothing in {options.first} has its like in {options.second}: "
            f"{listed(comparison.only_first)} against {listed(comparison.only_second)}"
        )
    chosen = options.format or (SUFFIXES.get(options.out.suffix.lower()) if options.out else "terminal")
    if chosen is None or (options.out and chosen == "terminal"):
        raise ValueError(f"--out: a comparison is written as {' or '.join(SUFFIXES)}, got {options.out.name!r}")
    if chosen == "terminal":
        show(comparison, make_console())
    elif options.out is None:
        sys.stdout.write(FORMATS[chosen](comparison))
    else:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(FORMATS[chosen](comparison), encoding="utf-8")
        print(f"wrote {options.out}", file=sys.stderr)

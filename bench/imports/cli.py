"""`tunebench import`: the results that others published, as records in a folder of their own."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.imports.importer import Imported, Importer
from bench.imports.registry import IMPORTERS
from bench.records import store

OUT = Path("results/imported")
DESCRIPTION = """Read results that others published into records. They lie in a folder of their own, and every table
says where they come from and what was measured how; they stand in sections of their own."""
EXAMPLES = """sources:
  peft-method-comparison     huggingface/peft, method_comparison/MetaMathQA/results (Llama-3.2-3B, MetaMathQA, GSM8K)

examples:
  git clone --depth 1 https://github.com/huggingface/peft
  tunebench import peft-method-comparison peft
  tunebench table results/imported                        what others measured
  tunebench table results/runs results/imported           beside what was measured here
  tunebench import peft-method-comparison FOLDER --commit 5d602fdbf      files without their checkout

Importing again replaces what was imported from the same source.
"""


class ImportRefused(ValueError):
    """What the user asked for cannot be imported; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 if nothing could be read, 2 for a request that cannot be met."""
    options = _parser().parse_args(argv)
    importer = IMPORTERS[options.source]
    try:
        return _import(importer, options.folder, options.out, options.commit)
    except ImportRefused as error:
        print(f"tunebench import: {error}", file=sys.stderr)
    except OSError as error:
        print(f"tunebench import: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tunebench import",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("source", choices=sorted(IMPORTERS), metavar="SOURCE", help=", ".join(sorted(IMPORTERS)))
    add("folder", type=Path, metavar="DIR", help="the result files' folder, or a checkout of the source's repository")
    add("--out", type=Path, default=OUT, metavar="FOLDER", help=f"where the records go (default: {OUT})")
    add("--commit", metavar="SHA", help="of the source, if DIR lies in no checkout of it")
    return parser


def _import(importer: Importer, given: Path, out: Path, commit: str | None) -> int:
    if not given.is_dir():
        raise ImportRefused(f"there is no folder {given}" if not given.exists() else f"{given} is not a folder")
    folder = importer.folder(given)
    paths = sorted(folder.glob(importer.pattern))
    if not paths:
        raise ImportRefused(f"no result files ({importer.pattern}) in {folder}")
    commit = commit or _commit(folder, importer.inside)
    found: list[Imported] = []
    for path in paths:
        try:
            found.append(importer.read(path, commit))
        except (ValueError, ArithmeticError) as error:  # times of 0 or infinity
            print(f"tunebench import: left out: {path}: {error}", file=sys.stderr)
    if not found:
        raise ImportRefused(f"none of {len(paths)} files in {folder} is a result of {importer.title}")
    place = out / importer.name
    replaced = _write(found, place, importer.title)
    parts = [f"{len(found)} records of {importer.title} (commit {commit[:10] if commit else 'unknown'}) in {place}"]
    parts += [f"{replaced} earlier ones replaced"] if replaced else []
    parts += [f"{len(paths) - len(found)} of {len(paths)} files left out"] if len(found) < len(paths) else []
    print(", ".join(parts))
    print(f"`tunebench table {place}` shows them")
    return 0


def _write(found: list[Imported], place: Path, title: str) -> int:
    """Write the records below `place` instead of those imported before; returns how many these were."""
    there = store.scan([place])[0] if place.is_dir() else {}
    before = [folder for folder, record in there.items() if record.source and record.source.name == title]
    for folder in before:
        shutil.rmtree(folder)
    for each in found:
        folder = place / each.record.run_id
        folder.mkdir(parents=True, exist_ok=True)
        store.write_lines(folder / store.STEPS, each.steps)
        store.write(each.record, folder)
    return len(before)


def _commit(folder: Path, inside: str) -> str | None:
    """The commit of the source's checkout in which `folder` lies, with a + if files in it differ from that."""
    prefix = _git(folder, "rev-parse", "--show-prefix")
    if prefix is None or prefix.strip("/") != inside:
        return None  # no checkout, or of something else
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    return commit and commit + ("+" if _git(folder, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

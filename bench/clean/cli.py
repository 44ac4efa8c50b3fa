"""The command line of `tunebench data`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.config import Data
from bench.config.task import FORMATS

DESCRIPTION = """\
Look at data before training on it, clean it, or write it in another format.

  tunebench data inspect FILE                     what is in it: format, lengths, duplicates, personal data, samples
  tunebench data clean FILE --out CLEAN.jsonl     without duplicates and personal data, with a report of what went
  tunebench data convert FILE --to messages --out NEW.jsonl

FILE is a file, a folder or a URL, as data.train= takes it.
"""


def main(arguments: Sequence[str]) -> int:
    """Run `tunebench data`; the exit code is 2 for a wrong command line or data that cannot be read."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.action(options))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tunebench data", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(required=True, metavar="inspect|clean|convert")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("location", metavar="FILE", help="file, folder or URL")
    common.add_argument("--format", default="auto", choices=("auto", *FORMATS), help="default: told by the fields")
    common.add_argument("--endpoint", default="", help="URL of an S3-compatible store")
    writing = argparse.ArgumentParser(add_help=False)
    writing.add_argument("--out", type=Path, required=True, help="the new file: .jsonl, .jsonl.gz or .jsonl.zst")
    writing.add_argument("--force", action="store_true", help="overwrite it")
    writing.add_argument(
        "--on-error", default="stop", choices=("stop", "skip"), help="rows that cannot be used (default: %(default)s)"
    )

    inspect = actions.add_parser("inspect", parents=[common], help="what is in it")
    inspect.add_argument("--model", default="tiny-llama", help="whose tokenizer counts: a name, a folder or a Hub id")
    inspect.add_argument("--max-length", type=int, default=256, help="tokens that an example may have (default: 256)")
    inspect.add_argument("--samples", type=int, default=3, help="examples to show (default: 3)")
    inspect.add_argument(
        "--against", action="append", default=[], metavar="FILE", help="find its rows in FILE (leakage)"
    )
    inspect.add_argument("--near", type=float, default=0.0, metavar="SHARE", help="count near duplicates, such as 0.8")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    inspect.set_defaults(action=_inspect)

    clean = actions.add_parser("clean", parents=[common, writing], help="without what does harm")
    clean.add_argument(
        "--near", type=float, default=0.8, metavar="SHARE", help="similarity of near duplicates; 0: exact ones alone"
    )
    clean.add_argument("--min-characters", type=int, default=1, help="of an example (default: %(default)s)")
    clean.add_argument("--max-characters", type=int, default=0, help="of an example (default: any)")
    clean.add_argument("--keep-repetition", action="store_true", help="keep texts that mostly repeat themselves")
    clean.add_argument(
        "--personal", default="mask", choices=("mask", "drop", "keep"), help="personal data (default: %(default)s)"
    )
    clean.add_argument(
        "--against", action="append", default=[], metavar="FILE", help="drop rows found in FILE (leakage)"
    )
    clean.set_defaults(action=_clean)

    convert = actions.add_parser("convert", parents=[common, writing], help="into another format")
    convert.add_argument("--to", required=True, choices=tuple(f for f in FORMATS if f != "transcript"))
    convert.add_argument("--split", metavar="SHARE,SHARE", help="three files by hash: validation, test, as 0.1,0.1")
    convert.set_defaults(action=_convert)
    return parser


def _data(options: argparse.Namespace) -> Data:
    return Data(
        train=options.location,
        format=options.format,
        on_error=getattr(options, "on_error", "skip"),
        turns="last",
        endpoint=options.endpoint,
    )


def _inspect(options: argparse.Namespace) -> int:
    from bench.clean.inspect import inspect, show

    found = inspect(_data(options), options.model, options.max_length, options.samples, options.near, options.against)
    if options.json:
        print(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
    else:
        show(found)
    return 0


def _clean(options: argparse.Namespace) -> int:
    from bench.clean.clean import Rules, clean
    from bench.clean.write import check

    check(options.out, options.force)
    rules = Rules(
        near=options.near,
        min_characters=options.min_characters,
        max_characters=options.max_characters,
        repetition=not options.keep_repetition,
        personal=options.personal,
        against=tuple(options.against),
    )
    report = clean(_data(options), rules, options.out)
    print(report.summary())
    return 0


def _convert(options: argparse.Namespace) -> int:
    from bench.clean.convert import convert

    print(convert(_data(options), options.to, options.out, options.split, options.force))
    return 0

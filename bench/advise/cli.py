"""`tunebench advise`: which method for this model, data and card; nothing is downloaded but a configuration."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.advise.children import begin, staying
from bench.advise.request import Request, check, find_model, find_task, labelled_share
from bench.advise.telling import answers
from bench.advise.units import read_size
from bench.method import PluginError
from bench.objective import OBJECTIVES
from bench.records.schema import Record
from bench.report.arguments import command

if TYPE_CHECKING:
    from bench.advise.card import Card

EXAMPLES_DEFAULT, SEQ_DEFAULT, BATCH_SIZE = 10_000, 512, 16
RESULTS = Path("results/runs")
DESCRIPTION = """Predict the memory and the time of every method on a card, and recommend one, before anything is
downloaded or trained. One train step of each is traced without weights and without a GPU."""
EXAMPLES = """examples:
  tunebench advise --model llama-3.1-8b --gpu rtx-4090 --task classification --examples 20000 --seq 2048 --hours 8
  tunebench advise --model qwen3-4b --task gsm8k --must-merge         on the GPU of this machine
  tunebench advise --model llama-3.2-3b --gpu t4 --objective dpo --task preference
  tunebench advise --model ./folder --gpu a100-80gb --method lora --longest
  tunebench advise --model llama-3.1-8b --gpu l4 --json > advice.json

`tunebench models` lists models, `tunebench tasks` tasks; a folder with a config.json and a Hub id are models too.
Quality is taken from the records in the results folders, where some are of a setting like this one.
The exit code is 1 if nothing that was asked for can be run. `--validate` tells how good such predictions have been.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 if nothing can be run, 2 for a request that cannot be met."""
    given = list(sys.argv[1:] if argv is None else argv)
    if "--validate" in given:  # a question about the past, with options of its own
        from bench.advise import validate

        return validate.main(given)
    options = _parser().parse_args(given)
    try:
        with staying():
            return _answer(options)
    except (ValueError, PluginError) as error:
        print(f"tunebench advise: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = command("advise", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--model", required=True, help="one of `tunebench models`, a folder with a config.json, or ORG/NAME on the Hub")
    add("--gpu", metavar="CARD", help="the card (default: the GPU of this machine)")
    add("--gpus", type=_count, default=1, metavar="N", help="how many of it train together, each with a whole model")
    kind = "a kind of task, for your own data, or one of `tunebench tasks` (default: generation; to prefer: preference)"
    add("--task", help=kind)
    objectives = "; ".join(f"{each.name}: {each.summary}" for each in OBJECTIVES.values())
    add("--objective", choices=tuple(OBJECTIVES), default="sft", help=objectives)
    add("--examples", type=_count, metavar="N", help=f"training examples (default: {EXAMPLES_DEFAULT:,})")
    add("--epochs", type=_positive, default=1.0, metavar="X", help="times that each is seen (default: 1)")
    add("--seq", type=_count, metavar="N", help=f"tokens of the longest row (default: the task's, else {SEQ_DEFAULT})")
    add("--mean-tokens", type=_count, metavar="N", help="tokens of a typical row, with padding (default: as --seq)")
    add("--batch", type=_count, default=0, metavar="N", help="rows at once on one card (default: as many as fit)")
    size = f"examples of an optimizer step (default: {BATCH_SIZE})"
    add("--batch-size", type=_count, default=BATCH_SIZE, metavar="N", help=size)
    add("--hours", type=_positive, default=0.0, metavar="X", help="that the training may take")
    add("--max-checkpoint", type=_size, default=0, metavar="SIZE", help="of what is saved, such as 100MB or 2GiB")
    add("--must-merge", action="store_true", help="the result has to be one model, without an adapter beside it")
    add("--must-share", action="store_true", help="several results have to work over one copy of the base")
    add("--method", nargs="+", action="extend", default=[], metavar="NAME", help="only these")
    every = "look at the methods of whose quality nothing is known, too, which are not recommended and take longer"
    add("--all", action="store_true", dest="every", help=every)
    add("--longest", action="store_true", help="also find the longest rows that fit, which takes longer")
    add("--json", action="store_true", help="the answer for machines")
    past = "compare predictions with what was measured instead; its own help: tunebench advise --validate --help"
    add("--validate", action="store_true", help=past)
    add("results", nargs="*", type=Path, default=[RESULTS], metavar="RESULTS", help=f"records (default: {RESULTS})")
    return parser


def _answer(options: argparse.Namespace) -> int:
    begin()  # in vain where the request cannot be met, and else no time is lost
    request = _request(options)
    check(request)
    card = _card(options.gpu)
    from bench.advise.advice import advise, as_json
    from bench.advise.cards import listed
    from bench.advise.publish import publish
    from bench.advise.words import show
    from bench.report.terminal import make_console

    cards = listed()
    found = advise(request, card, answers, cards, _records(options.results), options.longest)
    publish(found, cards)
    if options.json:
        print(json.dumps(as_json(found), indent=1, ensure_ascii=False))
    else:
        show(found, make_console())
    return 0 if found.answer.best else 1


def _request(options: argparse.Namespace) -> Request:
    model = find_model(options.model)
    name = options.task or ("preference" if OBJECTIVES[options.objective].preferences else "generation")
    seq = options.seq or (SEQ_DEFAULT if not options.task else None)
    task = find_task(name, seq, options.examples)
    return Request(
        model=model,
        task=task,
        objective=options.objective,
        examples=options.examples or EXAMPLES_DEFAULT,
        epochs=options.epochs,
        mean_tokens=options.mean_tokens or task.part.max_length,
        labelled=labelled_share(task.part),
        batch_size=options.batch_size,
        rows=options.batch,
        gpus=options.gpus,
        hours=options.hours,
        checkpoint_bytes=options.max_checkpoint,
        must_merge=options.must_merge,
        must_share=options.must_share,
        methods=tuple(options.method),
        every=options.every,
    )


def _card(name: str | None) -> "Card":
    """The card called `name`, or that of this machine.

    Raises:
        ValueError: there is none.
    """
    from bench.advise.cards import here, load

    found = load(name) if name and name != "cpu" else here(name or "cuda")
    if found is None:
        raise ValueError("--gpu must be given: this machine has no NVIDIA GPU (--gpu cpu is its processor)")
    return found


def _records(roots: Sequence[Path]) -> dict[Path, Record]:
    """The records below `roots`; what cannot be read is named.

    Raises:
        ValueError: there is no such folder.
    """
    from bench.records.store import read_listing
    from bench.report.selection import locate

    found, damaged = read_listing(locate(roots))
    for error in damaged:
        print(f"tunebench advise: left out: {error}", file=sys.stderr)
    return found


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of 1 or more is expected, got {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"a number above 0 is expected, got {text!r}")
    return found


def _size(text: str) -> int:
    try:
        return read_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error

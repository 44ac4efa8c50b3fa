"""`tunebench chat`: talk to what a run trained, with its base beside it."""

import argparse
import math
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bench.method import did_you_mean
from bench.records.named import RESULTS
from bench.report.arguments import command
from bench.report.terminal import make_console
from bench.trained.find import Finished, finished

if TYPE_CHECKING:
    from rich.console import Console

    from bench.trained.talk import Speaker

COMMANDS = {"/reset": "forget what was said", "/help": "this", "/quit": "end; so does Ctrl-D"}
DEVICES = ("auto", "cpu", "cuda", "mps")
DESCRIPTION = """Talk to the model that a run trained. The base answers first, then the tuned model, to the same prompt:
what you type is put into the form that the prompts of the training had, a chat template included."""
EXAMPLES = f"""RUN is a run's folder, its record.json, or its id below {RESULTS}, of which a part is enough.

At the prompt: {"; ".join(f"{name}: {what}" for name, what in COMMANDS.items())}; Ctrl-C ends an answer.
In what you type \\n is a line break. Where the input is not a terminal, every line of it is a prompt.

examples:
  tunebench chat lora-tiny-llama-pydoc-s0
  tunebench chat qlora-qwen3-0.6b --temperature 0.7 --max-new-tokens 200
  tunebench chat lora-tiny-llama-pydoc-s0 --no-base < prompts.txt
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Talk until the input ends; returns 0, or 2 if the run cannot be talked to."""
    options = _parser().parse_args(argv)
    try:
        found = finished(options.run)
        print(f"loading {found.record.run_id} ...", file=sys.stderr, flush=True)
        answering, about = _load(found, options)
    except (ValueError, OSError) as error:
        print(f"tunebench chat: {error}", file=sys.stderr)
        return 2
    print(about, file=sys.stderr, flush=True)
    _talk(answering, options, make_console())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command("chat", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("run", metavar="RUN", help="the run: its folder, record.json, id, or a part of the id")
    words = "0: the most probable token each time (default); higher: tokens are drawn, the more freely"
    add("--temperature", type=_temperature, default=0.0, metavar="T", help=words)
    words = "of an answer, at most (default: as many as in the run's evaluation)"
    add("--max-new-tokens", type=_positive, default=0, metavar="N", help=words)
    add("--seed", type=int, default=0, metavar="N", help="of what is drawn with --temperature (default: 0)")
    add("--no-base", action="store_true", help="the tuned model alone")
    add("--raw", action="store_true", help="what is typed is the whole prompt")
    add("--device", choices=DEVICES, default="auto", help="where to compute (default: auto)")
    return parser


def _temperature(text: str) -> float:
    value = float(text)
    if not (value >= 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"must be >= 0, got {text}")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, got {text}")
    return value


def _load(found: Finished, options: argparse.Namespace) -> tuple[list["Speaker"], str]:
    """The models that answer, and words about how they are asked."""
    from torch import manual_seed

    from bench.models.load import pick_device
    from bench.trained.frame import Frame, frame_of
    from bench.trained.talk import speakers

    warnings.simplefilter("ignore", FutureWarning)  # of the libraries among themselves
    try:
        frame = Frame() if options.raw else frame_of(found.run)
    except (ValueError, OSError) as error:
        raise ValueError(f"{error}; with --raw the data are not needed") from error
    answering = speakers(found, pick_device(options.device), frame, not options.no_base)
    manual_seed(options.seed)
    if frame.conversation:
        about = "a conversation in the chat template" + (f", system: {frame.system}" if frame.system else "")
    elif frame.before or frame.after:
        about = f"each prompt alone, as in training: {_short(frame.before)}...{frame.after}"
    else:
        about = "each prompt alone, as it is typed"
    return answering, f"{about}\n/help lists the commands"


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:80]} [...] {text[-80:]}"


def _talk(answering: list["Speaker"], options: argparse.Namespace, console: "Console") -> None:
    """Read prompts and answer them until the input ends or somebody says so."""
    for line in _lines():
        if re.fullmatch(r"/[a-z]+", line):
            if line == "/quit":
                return
            _obey(line, answering)
            continue
        for speaker in answering:
            _answer(speaker, line.replace("\\n", "\n"), options, console)
        console.print()


def _lines() -> Iterator[str]:
    """What is typed, or the lines of a file or a pipe, which are shown; empty ones are left out."""
    if not sys.stdin.isatty():
        for line in map(str.strip, sys.stdin):
            if line:
                print(f"> {line}", flush=True)
                yield line
        return
    import readline  # noqa: F401  # input() then has a history, and its lines can be edited

    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            print()
            return
        if line:
            yield line


def _obey(line: str, answering: list["Speaker"]) -> None:
    if line == "/help":
        print("\n".join(f"{name}  {what}" for name, what in COMMANDS.items()))
    elif line == "/reset":
        for speaker in answering:
            speaker.history.clear()
        print("forgotten")
    else:
        print(f"there is no command {line}{did_you_mean(line, COMMANDS)}")


def _answer(speaker: "Speaker", text: str, options: argparse.Namespace, console: "Console") -> None:
    """One model's answer, as it comes; Ctrl-C at a terminal ends it and goes on."""

    def say(piece: str) -> None:
        print(piece, end="", flush=True)

    console.print(f"[bold]{speaker.label}:[/] ", end="")
    try:
        speaker.answer(text, say, options.temperature, options.max_new_tokens)
        print(flush=True)
    except KeyboardInterrupt:
        print(" [stopped]", flush=True)
        if not sys.stdin.isatty():
            raise
    except ValueError as error:  # a chat template that refuses the conversation
        print(f"[no answer: {error}]", flush=True)

"""The command `tunebench`, and `python -m bench`: finds the subcommand and imports only what that needs."""

import importlib
import os
import sys

from bench import __version__
from bench.method import PluginError

USAGE = """\
tunebench compares ways of fine-tuning a language model under one train and evaluation loop.

  tunebench sweep [KEY=VALUE ...]     the comparison: all methods on the embedded model and task, table at the end
  tunebench run   [KEY=VALUE ...]     one run
  tunebench status [RESULTS]          how far the sweeps are that run now, from another terminal;  --watch
  tunebench table [RESULTS ...]       tables from finished runs: terminal, md, csv, html, latex, json
  tunebench report [RESULTS ...]      one HTML page of them, with plots, and the plots as files
  tunebench serve [RESULTS ...]       the same page in the browser, refreshed while a sweep runs
  tunebench compare A B               two runs, or two sets of runs, side by side, with intervals of the differences
  tunebench reproduce RUN             do a run again from its record, and say whether it gives the same
  tunebench export RUN --adapter|--merge DIR          what a run trained, for peft or transformers
  tunebench chat RUN                  talk to the tuned model in the terminal, the base beside it
  tunebench advise --model M --gpu CARD               which method for this model, card and data, and will it fit
  tunebench import SOURCE DIR         what others published, as records that say so
  tunebench methods | models | tasks | hardware       what there is;  methods --capabilities;  models --matrix
  tunebench calibrate                 measure the device at hand, for the advisor's predictions of time
  tunebench data inspect|clean|convert FILE           look at data, clean it, write it in another format
  tunebench new-method NAME           write a method of your own, with its test and a page about it
  tunebench check method=NAME         does it keep the contract, clause by clause

  tunebench run --help                the keys and their choices;  --cfg job prints every value
  tunebench table --help              formats, columns and groupings
  tunebench --version

`python -m bench KEY=VALUE ...` is `tunebench run`, `python -m bench -m KEY=VALUE ...` is `tunebench sweep`.
"""

# The module of each command that is not Hydra's business; imported when it is asked for, so that each starts fast.
COMMANDS = {
    "status": "bench.status",
    "table": "bench.report.cli",
    "report": "bench.report.page.cli",
    "serve": "bench.serve",
    "advise": "bench.advise.cli",
    "import": "bench.imports.cli",
    "compare": "bench.report.compare_cli",
    "reproduce": "bench.reproduce",
    "export": "bench.export",
    "chat": "bench.chat",
    "data": "bench.clean.cli",
    "calibrate": "bench.advise.calibrate",
    "check": "bench.check",
    "new-method": "bench.scaffold",
}
LISTED = ("methods", "models", "tasks", "hardware")


def entry() -> int:
    """The command, ended by Ctrl-C or by a reader that has gone without a word too many."""
    try:
        return main()
    except KeyboardInterrupt:
        return 130
    except PluginError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # `tunebench table | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def main() -> int:
    """Dispatch to the subcommand; the exit code is 2 for a wrong command line."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("--help", "-h", "help"):
        print(USAGE, end="")
        return 0
    if command == "--version":
        print(f"tunebench {__version__}")
        return 0
    if command in COMMANDS:
        return int(importlib.import_module(COMMANDS[command]).main(arguments))
    if command in LISTED:
        from bench import listing

        return listing.main(command, arguments)
    if command in ("run", "sweep"):
        from bench import app

        return app.main(command, arguments)
    if "=" in command or command.startswith("-"):  # a plain Hydra app
        from bench import app

        everything = [command, *arguments]
        multirun = {"-m", "--multirun"} & set(everything)
        return app.main("sweep" if multirun else "run", [a for a in everything if a not in multirun])
    from bench.method import did_you_mean

    known = ("run", "sweep", *COMMANDS, *LISTED)
    print(f"there is no command {command!r}{did_you_mean(command, known)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(entry())

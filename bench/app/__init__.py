"""What knows Hydra, and nothing else does: from what the user typed to checked runs, and on to a launcher.

A command line without Hydra's own words is composed and checked in `plan`, and carried out by this project's launcher.
A sweep that names one of Hydra's launchers is planned in the same way and handed to it (`handover`). With a flag
(`--cfg job`, `--help`, `--config-dir`, shell completion) or another sweeper Hydra's own main takes over.
"""

import sys
from collections.abc import Sequence

from bench.app.compose import UserError
from bench.app.handover import HYDRAS, hand_over, hydras_main
from bench.app.plan import plan
from bench.launch.devices import DeviceError
from bench.launch.queue import ResultsError
from bench.method import PluginError
from bench.sweep import carry_out

__all__ = ["UserError", "main", "plan"]


def main(command: str, arguments: Sequence[str]) -> int:
    """`tunebench run` and `tunebench sweep`.

    Args:
        command: `run` or `sweep`.
        arguments: Hydra overrides, and Hydra's own flags.

    Returns:
        0 if every run is ok or unsupported, 1 if one failed, 2 if the command line cannot be run, 130 if interrupted.
    """
    words = [argument.lstrip("+~") for argument in arguments]
    try:
        if any(word.startswith(("-", "hydra/sweeper")) for word in words):
            return hydras_main(command, arguments)
        if any(word.startswith(HYDRAS) for word in words):
            return hand_over(arguments) if command == "sweep" else hydras_main(command, arguments)
        return carry_out(plan(command, arguments))
    except (UserError, PluginError, DeviceError, ResultsError) as error:
        print(error, file=sys.stderr)
        return 2

"""Runs in the hands of others: Hydra's launchers (joblib, submitit, Ray) for a sweep, and Hydra's own main.

A launcher composes the configuration of each job anew, on the machine that does it. The runs were planned and
checked here before, so they travel with the job function, and the job's number says which of them it is: what is
run is what was checked, whatever the other machine's configuration says.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra import main as hydra_main
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from bench.app.compose import UserError, composed, hydra_is_ready, register
from bench.app.plan import checked, plan
from bench.config import Run
from bench.paths import conf_dir
from bench.sweep import carry_out, do_one, found_anywhere, sum_up, validation_loss

HYDRAS = ("hydra.", "hydra/")  # how an argument begins that is for Hydra itself, beside its flags
_INSTEAD_OF_A_RUN = {"-m", "--multirun", "-c", "--cfg", "-i", "--info", "-sc", "--shell-completion"}  # one at most
_OTHER_FILES = ("--config-", "-cd", "-cn", "-cp")  # flags with which the choices are not all ours
_LINES = 2  # of a launcher's error that are shown; submitit's go on in the second
# A cluster that is made for the sweep reports to nobody, and every line of progress is shown, and shown plainly.
_RAY_LEAVES_OUT = ("RAY_USAGE_STATS_ENABLED", "RAY_DEDUP_LOGS", "RAY_COLOR_PREFIX")


def hand_over(arguments: Sequence[str]) -> int:
    """Carry out a sweep by the launcher that it names, wait for the end, and print the table of all its runs.

    Returns:
        0 if every run is ok or unsupported, 1 if one ended otherwise or has no record, 130 if the user interrupted.

    Raises:
        UserError: the command line cannot be run; nothing was started.
    """
    runs = plan("sweep", arguments)
    with hydra_is_ready():
        config = _configuration(arguments, runs)
        name = str(config.hydra.runtime.choices["hydra/launcher"])
        launcher = _launcher(name, config, runs)
        print(
            f"{len(runs)} run{'s' if len(runs) > 1 else ''} handed to {name}; "
            f"`tunebench status` shows how far they are",
            file=sys.stderr,
        )
        folders, code = _wait(name, launcher, config.hydra.sweeper.max_batch_size or len(runs), runs)
    ended = sum_up(runs, folders)
    return code or ended


def _configuration(arguments: Sequence[str], runs: Sequence[Run]) -> DictConfig:
    """Hydra's own settings; what jobs leave behind lies beside the records, wherever they are done."""
    folder = QuotedString(str(Path(runs[0].results).absolute() / "runs"), Quote.single).with_quotes()
    own = [a for a in arguments if a.lstrip("+~").startswith(HYDRAS)]
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    return hydra.compose_config("config", [f"hydra.sweep.dir={folder}", *own], RunMode.MULTIRUN)


def _launcher(name: str, config: DictConfig, runs: Sequence[Run]) -> Launcher:
    target = str(config.hydra.launcher._target_).rpartition(".")[0]
    try:
        importlib.import_module(target)
    except ImportError as error:
        package = target.split(".")[1].replace("_", "-")  # hydra_plugins.hydra_joblib_launcher.joblib_launcher
        extra = package.removeprefix("hydra-").removesuffix("-launcher")
        message = f"hydra/launcher={name} needs {package}: pip install 'tunebench[{extra}]'"
        raise UserError(message) from error
    for key in _RAY_LEAVES_OUT:
        os.environ.setdefault(key, "0")
    context = HydraContext(GlobalHydra.instance().config_loader(), Callbacks(config))
    return Plugins.instance().instantiate_launcher(context, partial(_job, runs, Path.cwd(), sys.argv), config)


def _job(runs: Sequence[Run], where: Path, command: list[str], _composed: DictConfig) -> list[Path]:
    """One job, on whatever machine the launcher does it."""
    return do_one(runs[HydraConfig.get().job.num], where, command)


def _wait(name: str, launcher: Launcher, at_once: int, runs: Sequence[Run]) -> tuple[list[Path], int]:
    """Launch the jobs, `at_once` in a batch, and wait for their ends.

    Returns:
        Where the records are, as the jobs said or, if the launcher gave up, as they are found; and the exit code then.
    """
    folders: list[Path] = []
    for first in range(0, len(runs), at_once):
        jobs: list[list[str]] = [[] for _ in runs[first : first + at_once]]
        try:
            done = launcher.launch(jobs, first)
        except KeyboardInterrupt:
            return found_anywhere(runs), 130
        except _errors() as error:
            words = [line.strip() for line in str(error).splitlines() if line.strip()][:_LINES]
            print(f"{name}: {' '.join(words) or type(error).__name__}", file=sys.stderr)
            return found_anywhere(runs), 1
        folders += [folder for job in done for folder in job.return_value]
    return folders, 0


def _errors() -> tuple[type[Exception], ...]:
    """What launchers raise: for a lost job, an unreachable cluster, a setting that they do not have."""
    ray = sys.modules.get("ray")
    return (OSError, RuntimeError, TypeError, ValueError, NameError, *([ray.exceptions.RayError] if ray else []))


def hydras_main(command: str, arguments: Sequence[str]) -> int:
    """Hydra's own main, for its flags and sweepers; each of its jobs is one run here.

    Raises:
        UserError: a choice or a key of a run that there is not, which Hydra would answer in its own words.
    """
    codes: list[int] = []

    def job(whole: DictConfig) -> float | None:
        try:
            run = checked(whole)
        except UserError as error:  # a launcher would show it with a traceback, and a sweep the first one alone
            print(error, file=sys.stderr)
            codes.append(2)
            return None
        codes.append(carry_out([run]))
        return validation_loss(run)

    register()
    flags = {argument.partition("=")[0] for argument in arguments}
    if command == "run" and not any(flag.startswith(_OTHER_FILES) for flag in flags):
        own = [a for a in arguments if not a.lstrip("+~").startswith(("-", *HYDRAS)) and "=" in a]
        if own:
            composed(own)
    multirun = ["--multirun"] if command == "sweep" and _INSTEAD_OF_A_RUN.isdisjoint(flags) else []
    sys.argv = ["tunebench", *multirun, *arguments]
    hydra_main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(job)()
    return max(codes, default=0)

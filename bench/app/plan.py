"""From what the user typed to checked runs, all of them before the first starts.

So every error of every run is reported at once, and the number of runs is known. What is said to Hydra itself
(`hydra/launcher=joblib`, `hydra.sweeper.params.seed=1,2`) is checked here too, and is no part of a run.
"""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from bench.app.compose import (
    UserError,
    as_run,
    choices,
    composed_of,
    configuration,
    group_error,
    group_of,
    hydra_is_ready,
    look_up,
    parse,
    read,
    register,
    set_key,
)
from bench.config import Data, Run
from bench.data import templates
from bench.data.sources.fetch import content
from bench.evaluate import metrics
from bench.models import locate
from bench.trained.find import finished


def plan(command: str, arguments: Sequence[str]) -> list[Run]:
    """The checked runs of a command line, in order.

    Raises:
        UserError: with every error found in any of the runs.
    """
    register()
    _content.cache_clear()
    with hydra_is_ready():
        jobs = _jobs(arguments) if command == "sweep" else [parse(arguments)]
        errors: dict[str, None] = {}
        runs = []
        for job in jobs:
            try:
                runs.append(_run(job))
            except UserError as error:
                errors |= dict.fromkeys(str(error).splitlines())
    if errors:
        raise UserError("\n".join(errors))
    return runs


def _jobs(arguments: Sequence[str]) -> list[list[Override]]:
    """The overrides of every job of a sweep: the configured sweep's parameters, then what the user typed over them."""
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    typed = read(arguments)
    hydras = [o for o in typed if o.is_hydra_override()]
    typed = [o for o in typed if not o.is_hydra_override()]
    single = [o for o in typed if not o.is_sweep_override() and group_of(o) is not None]
    wrong = [error for o in single + hydras for error in group_error(o)]
    if wrong:
        raise UserError("\n".join(wrong))
    params = _sweeper_params(single, hydras)
    overrides = parser.parse_overrides([f"{key}={value}" for key, value in params.items()]) + typed
    batches = BasicSweeper.split_arguments(overrides, None)
    parsed = {line: parser.parse_overrides([line])[0] for batch in batches for job in batch for line in job}
    return [[parsed[line] for line in job] for batch in batches for job in batch]


def _sweeper_params(single: list[Override], hydras: list[Override]) -> dict[str, Any]:
    """What the configured sweep varies, the method last, so that each setting is done with all methods before the next.

    Also checks Hydra's own settings, which are part of that configuration.
    """
    groups = [str(o.input_line) for o in single + hydras if group_of(o) is not None]
    whole = compose("config", groups, return_hydra_config=True)
    keys = [o for o in hydras if group_of(o) is None]
    wrong = [error for o in keys for error in _hydra_error(whole, o)]
    if wrong:
        raise UserError("\n".join(wrong))
    if keys:
        whole = compose("config", groups + [str(o.input_line) for o in keys], return_hydra_config=True)
    params = dict(whole.hydra.sweeper.params or {})
    return {key: params[key] for key in sorted(params, key=lambda key: key == "method")}


def _hydra_error(whole: DictConfig, override: Override) -> list[str]:
    """What is wrong with a key of Hydra's own; one that is added with `+` may have any name."""
    key = str(override.key_or_group)
    if override.is_add() or override.is_force_add():
        return []
    node, unknown = look_up(whole, key)
    if not unknown and isinstance(node, DictConfig) and not isinstance(override.value(), dict):
        unknown = f"{key} is a group of keys; choose one with {key.replace('.', '/')}={override.value()}"
    return [unknown] if unknown else []


def _run(overrides: list[Override]) -> Run:
    """One checked run.

    Raises:
        UserError: every wrong choice, unknown key, wrong type and wrong value of this run, a line each.
    """
    return checked(configuration(overrides))


def checked(whole: DictConfig) -> Run:
    """The typed run, with the hash of the local files that it reads, so that changed files make another run."""
    return check(_staged(whole))


def check(run: Run) -> Run:
    """The same run, with the hashes of the local files as they are now.

    Raises:
        UserError: every error that is found without loading anything, a line each.
    """
    found = run.errors() + locate.errors(run.model) + templates.errors(run.task) + metrics.errors(run.task)
    try:
        run.data.content = _content((run.data.train, run.data.validation, run.data.test, run.data.general))
    except ValueError as error:
        found.append(str(error))
    if found:
        raise UserError("\n".join(found))
    run.model.content = locate.content(run.model)
    if (before := run.stage_before()) is not None:
        check(before)
    return run


@cache
def _content(locations: tuple[str, str, str, str]) -> str:
    """Hashed once for all runs of a sweep."""
    train, validation, test, general = locations
    return content(Data(train=train, validation=validation, test=test, general=general))


def _staged(whole: DictConfig, above: tuple[str, ...] = ()) -> Run:
    """The typed run with its start, if it has one.

    That is a run which is there, or the stage before: a method's name, or the overrides that make it of this run, the
    method among them. In all that these do not say the stage before is like this run.
    """
    run = as_run(whole)
    named = "" if run.method is None else run.method.start_from
    if not named:
        return run
    assert run.method is not None
    if named in above:
        raise UserError(f"method.start_from={named} starts from itself")
    if "=" in named or named in choices("method"):
        try:
            overrides = read(shlex.split(named) if "=" in named else [f"method={named}"])
            start = _staged(_stage(whole, overrides), (*above, named))
        except (UserError, ValueError) as error:
            raise UserError("\n".join(f"method.start_from: {line}" for line in str(error).splitlines())) from error
        start.launch = replace(start.launch, keep_adapter=True, keep_model=True)
    else:
        try:
            found = finished(named, Path(run.results))
        except ValueError as error:
            raise UserError(f"method.start_from: {error}") from error
        start, run.method.start_from = found.run, str(found.folder.resolve())
    run.start = start
    return run


def _stage(whole: DictConfig, overrides: list[Override]) -> DictConfig:
    """The configuration with other choices and keys; what a choice replaces is as it is by default but for these."""
    groups = [o for o in overrides if group_of(o) is not None]
    if not any(o.key_or_group == "method" for o in groups):
        raise UserError("the overrides of a stage must name its method, as in method=NAME")
    errors = [error for o in groups for error in group_error(o)]
    if not errors:
        stage, chosen = whole.copy(), composed_of(tuple(o.input_line for o in groups))
        for part in {str(o.key_or_group).split("/")[0] for o in groups}:
            stage[part] = chosen[part]
        errors = [error for o in overrides if o not in groups for error in set_key(stage, o)]
    if errors:
        raise UserError("\n".join(errors))
    return stage

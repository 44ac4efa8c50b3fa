"""From what the user typed to checked runs, all of them before the first starts.

So every error of every run is reported at once, and the number of runs is known. What is said to Hydra itself
(`hydra/launcher=joblib`, `hydra.sweeper.params.seed=1,2`) is checked here too, and is no part of a run.
"""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, fields, make_dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench import config, listing
from bench.config import Data, Run
from bench.data import templates
from bench.data.sources.fetch import content
from bench.evaluate import metrics
from bench.method import Method, PluginError, did_you_mean, discover, get, place
from bench.models import locate
from bench.paths import conf_dir
from bench.trained.find import finished

_LISTED = 12  # choices that a message lists
_OPEN = "model.architecture"  # its keys are those of transformers' configurations, which check them


class UserError(Exception):
    """What the user typed cannot be run; the message is for them, one error a line."""


def plan(command: str, arguments: Sequence[str]) -> list[Run]:
    """The checked runs of a command line, in order.

    Raises:
        UserError: with every error found in any of the runs.
    """
    register()
    with hydra_is_ready():
        jobs = _jobs(arguments) if command == "sweep" else [_parse(arguments)]
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


def composed(arguments: Sequence[str]) -> Run:
    """The run of a command line as it is composed, its values not checked.

    Raises:
        UserError: an argument that cannot be read, a choice or a key that there is not, or a value of a wrong type.
    """
    register()
    with hydra_is_ready():
        return _typed(_whole(_parse(arguments)))


@cache
def register() -> None:
    """Put the schema and every method into Hydra's store; a method with an adapter gets a default list for it."""
    store = ConfigStore.instance()
    schema = [(f.name, f.type, f) for f in fields(Run) if f.name not in ("method", "start")]
    store.store(name="schema", node=make_dataclass("Schema", [("method", Any, field(default=None)), *schema]))
    for name in discover():
        register_method(name)

    Plugins.instance()  # have put launchers there too, which Hydra would take for the schemas of our files
    for name, _ in listing.named("hydra/launcher"):
        store.repo["hydra"]["launcher"].pop(f"{name}.yaml", None)


def register_method(name: str) -> None:
    """Put a method into Hydra's store; one with an adapter gets a default list for it."""
    store, cls = ConfigStore.instance(), get(name)
    adapter = next((f for f in fields(cls) if f.name == "adapter"), None)
    if adapter is None:
        try:
            store.store(group="method", name=name, node=cls)
        except OmegaConfBaseException as error:
            hint = "a setting is an int, float, str or bool, a list of these, or a method"
            raise PluginError(f"{place(cls)}: {one_message(error)}; {hint}") from error
        store.store(group="method/adapter", name=name, node=cls)
        return
    choices = ["_self_", {"adapter": cls().adapter.name}]  # type: ignore[attr-defined]
    typed = [
        ("adapter", Method, field(default_factory=Method)),
        ("defaults", list[Any], field(default_factory=partial(list, choices))),
    ]
    store.store(group="method", name=name, node=make_dataclass(cls.__name__, typed, bases=(cls,)))


@contextmanager
def hydra_is_ready() -> Iterator[None]:
    """Hydra set up on our configuration for a `with` block, its errors turned into `UserError`."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3", job_name="tunebench"):
        try:
            yield
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(one_message(error)) from error
        finally:
            _compose_groups.cache_clear()
            _content.cache_clear()
            _options.cache_clear()


def _parse(arguments: Sequence[str]) -> list[Override]:
    found = _read(arguments)
    swept = [o.input_line for o in found if o.is_sweep_override()]
    if swept:
        raise UserError(f"{swept[0]} names several runs: use `tunebench sweep`")
    return found


def _read(arguments: Sequence[str]) -> list[Override]:
    """The arguments as Hydra reads them.

    Raises:
        UserError: with the way to write each that it cannot read.
    """
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    found, wrong = [], []
    for argument in arguments:
        try:
            found += parser.parse_overrides([argument])
        except HydraException as error:
            key, sign, value = argument.partition("=")
            quoted = value.replace("\\", "\\\\").replace('"', '\\"')
            advice = f"; if the value is meant as it stands, quote it: '{key}=\"{quoted}\"'" if sign else ""
            wrong.append(f"{argument} cannot be read: {one_message(error)}{advice}")
    if wrong:
        raise UserError("\n".join(wrong))
    return found


def _jobs(arguments: Sequence[str]) -> list[list[Override]]:
    """The overrides of every job of a sweep: the configured sweep's parameters, then what the user typed over them."""
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    typed = _read(arguments)
    hydras = [o for o in typed if o.is_hydra_override()]
    typed = [o for o in typed if not o.is_hydra_override()]
    single = [o for o in typed if not o.is_sweep_override() and _group_of(o) is not None]
    wrong = [error for o in single + hydras for error in _group_error(o)]
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
    groups = [str(o.input_line) for o in single + hydras if _group_of(o) is not None]
    whole = compose("config", groups, return_hydra_config=True)
    keys = [o for o in hydras if _group_of(o) is None]
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
    node, unknown = _walk(whole, key)
    if not unknown and isinstance(node, DictConfig) and not isinstance(override.value(), dict):
        unknown = f"{key} is a group of keys; choose one with {key.replace('.', '/')}={override.value()}"
    return [unknown] if unknown else []


def _run(overrides: list[Override]) -> Run:
    """One checked run.

    Raises:
        UserError: every wrong choice, unknown key, wrong type and wrong value of this run, a line each.
    """
    return checked(_whole(overrides))


def _whole(overrides: list[Override]) -> DictConfig:
    groups = [o for o in overrides if _group_of(o) is not None]
    errors = [error for o in groups for error in _group_error(o)]
    wrong = [o for o in groups if _group_error(o)]
    whole = _compose_groups(tuple(o.input_line for o in groups if o not in wrong)).copy()
    unknown = {str(o.key_or_group).split("/")[0] for o in wrong}  # nobody knows which keys these would have
    for override in overrides:
        if _group_of(override) is None and str(override.key_or_group).split(".")[0] not in unknown:
            errors += _apply(whole, override)
    if errors:
        raise UserError("\n".join(errors))
    return whole


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
    run = _typed(whole)
    named = "" if run.method is None else run.method.start_from
    if not named:
        return run
    assert run.method is not None
    if named in above:
        raise UserError(f"method.start_from={named} starts from itself")
    if "=" in named or named in _options("method"):
        try:
            overrides = _read(shlex.split(named) if "=" in named else [f"method={named}"])
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
    groups = [o for o in overrides if _group_of(o) is not None]
    if not any(o.key_or_group == "method" for o in groups):
        raise UserError("the overrides of a stage must name its method, as in method=NAME")
    errors = [error for o in groups for error in _group_error(o)]
    if not errors:
        stage, chosen = whole.copy(), _compose_groups(tuple(o.input_line for o in groups))
        for part in {str(o.key_or_group).split("/")[0] for o in groups}:
            stage[part] = chosen[part]
        errors = [error for o in overrides if o not in groups for error in _apply(stage, o)]
    if errors:
        raise UserError("\n".join(errors))
    return stage


def _typed(whole: DictConfig) -> Run:
    try:
        return config.from_dict(OmegaConf.to_container(whole, resolve=True))  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(str(error)) from error


@cache
def _compose_groups(groups: tuple[str, ...]) -> DictConfig:
    return compose("config", list(groups))


def _group_of(override: Override) -> str | None:
    """The config group that an override chooses from, or None if it sets a key."""
    name = override.key_or_group
    return name if override.package is None and _options(name) else None


@cache
def _options(group: str) -> tuple[str, ...]:
    """The choices of a config group, with those in its folders as `peftbench/mnli`; empty if it is no group."""
    found = tuple(GlobalHydra.instance().config_loader().get_group_options(group))
    return found and (*found, *(name for name, _ in listing.named(group) if "/" in name))


def _group_error(override: Override) -> list[str]:
    group = _group_of(override)
    value = "null" if override.value() is None else override.value()
    if group is None or override.is_delete() or override.is_sweep_override():
        return []
    options = _options(group)
    if value in options:
        return []
    inside = [option for option in options if option.endswith(f"/{value}")]  # its folder was left out
    near = did_you_mean(inside[0] if inside else str(value), options)
    if len(options) > _LISTED and "did you mean" not in near:
        near = f"; `tunebench {group.partition('/')[0]}s` lists what there is"
    return [f"{group}: there is no {str(value)!r}{near}"]


def _apply(whole: DictConfig, override: Override) -> list[str]:
    """Set one key of the composed configuration; returns what is wrong with it."""
    key = str(override.key_or_group)
    if key == _OPEN or key.startswith(f"{_OPEN}."):
        OmegaConf.update(whole, key, override.value(), merge=False, force_add=True)
        return []
    node, unknown = _walk(whole, key)
    if unknown:
        return [unknown]
    if isinstance(node, DictConfig):
        return [f"{key} is a group of keys; set one of {', '.join(f'{key}.{k!s}' for k in node)}"]
    if override.is_delete():
        return [f"{key} cannot be deleted; every run has it"]
    if isinstance(node, ListConfig) and not isinstance(override.value(), list):
        return [f"{key} is a list: {key}=[{override.value()}]"]
    try:
        OmegaConf.update(whole, key, override.value(), force_add=False)
    except OmegaConfBaseException as error:
        return [f"{key}: {one_message(error)}"]
    return []


def _walk(whole: DictConfig, key: str) -> tuple[Any, str]:
    """What the configuration has under a dotted key; or an error in words, if it has no such key."""
    node: Any = whole
    path: list[str] = []
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            where = ".".join(path)
            known = [f"{where}.{k!s}" if where else str(k) for k in node] if isinstance(node, DictConfig) else []
            return None, f"there is no key {key!r}{did_you_mean('.'.join([*path, part]), known)}"
        path.append(part)
        node = None if OmegaConf.is_missing(node, part) else node[part]
    return node, ""


def one_message(error: Exception) -> str:
    """The first sentence of one of Hydra's errors, whose further lines speak of its internals."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

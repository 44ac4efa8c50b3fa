"""One run from what the user typed: Hydra's overrides read, put into the configuration, and named where wrong."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, fields, make_dataclass
from functools import cache, partial
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench import config, listing
from bench.config import Run
from bench.method import Method, PluginError, did_you_mean, discover, get, place
from bench.paths import conf_dir

_LISTED = 12  # choices that a message lists
_OPEN = "model.architecture"  # its keys are those of transformers' configurations, which check them


class UserError(Exception):
    """What the user typed cannot be run; the message is for them, one error a line."""


def composed(arguments: Sequence[str]) -> Run:
    """The run of a command line as it is composed, its values not checked.

    Raises:
        UserError: an argument that cannot be read, a choice or a key that there is not, or a value of a wrong type.
    """
    register()
    with hydra_is_ready():
        return as_run(configuration(parse(arguments)))


@cache
def register() -> None:
    """Put the schema and every method into Hydra's store; a method with an adapter gets a default list for it."""
    store = ConfigStore.instance()
    schema = [(f.name, f.type, f) for f in fields(Run) if f.name not in ("method", "start")]
    store.store(name="schema", node=make_dataclass("Schema", [("method", Any, field(default=None)), *schema]))
    for name in discover():
        register_method(name)

    # Hydra copies its sources for each composition, and with them this store of all methods: half of the time
    ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]
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
            composed_of.cache_clear()
            choices.cache_clear()


def parse(arguments: Sequence[str]) -> list[Override]:
    """The arguments of one run, as Hydra reads them.

    Raises:
        UserError: one cannot be read, or names several runs.
    """
    found = read(arguments)
    swept = [o.input_line for o in found if o.is_sweep_override()]
    if swept:
        raise UserError(f"{swept[0]} names several runs: use `tunebench sweep`")
    return found


def read(arguments: Sequence[str]) -> list[Override]:
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


def configuration(overrides: list[Override]) -> DictConfig:
    """The configuration that overrides make: the choices of groups, then the keys.

    Raises:
        UserError: a choice or a key that there is not, or a value of a wrong type, a line each.
    """
    groups = [o for o in overrides if group_of(o) is not None]
    errors = [error for o in groups for error in group_error(o)]
    wrong = [o for o in groups if group_error(o)]
    whole = composed_of(tuple(o.input_line for o in groups if o not in wrong)).copy()
    unknown = {str(o.key_or_group).split("/")[0] for o in wrong}  # nobody knows which keys these would have
    for override in overrides:
        if group_of(override) is None and str(override.key_or_group).split(".")[0] not in unknown:
            errors += set_key(whole, override)
    if errors:
        raise UserError("\n".join(errors))
    return whole


def as_run(whole: DictConfig) -> Run:
    """The run of a configuration, its values not checked.

    Raises:
        UserError: a value that no run can have.
    """
    try:
        return config.from_dict(OmegaConf.to_container(whole, resolve=True))  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(str(error)) from error


@cache
def composed_of(groups: tuple[str, ...]) -> DictConfig:
    """The configuration of these choices, with the default of every other group; not to be changed."""
    return compose("config", list(groups))


def group_of(override: Override) -> str | None:
    """The config group that an override chooses from, or None if it sets a key."""
    name = override.key_or_group
    return name if override.package is None and choices(name) else None


@cache
def choices(group: str) -> tuple[str, ...]:
    """The choices of a config group, with those in its folders as `peftbench/mnli`; empty if it is no group."""
    found = tuple(GlobalHydra.instance().config_loader().get_group_options(group))
    return found and (*found, *(name for name, _ in listing.named(group) if "/" in name))


def group_error(override: Override) -> list[str]:
    """What is wrong with a choice of a group: one sentence, or none."""
    group = group_of(override)
    value = "null" if override.value() is None else override.value()
    if group is None or override.is_delete() or override.is_sweep_override():
        return []
    options = choices(group)
    if value in options:
        return []
    inside = [option for option in options if option.endswith(f"/{value}")]  # its folder was left out
    near = did_you_mean(inside[0] if inside else str(value), options)
    if len(options) > _LISTED and "did you mean" not in near:
        near = f"; `tunebench {group.partition('/')[0]}s` lists what there is"
    return [f"{group}: there is no {str(value)!r}{near}"]


def set_key(whole: DictConfig, override: Override) -> list[str]:
    """Set one key of the composed configuration; returns what is wrong with it."""
    key = str(override.key_or_group)
    if key == _OPEN or key.startswith(f"{_OPEN}."):
        OmegaConf.update(whole, key, override.value(), merge=False, force_add=True)
        return []
    node, unknown = look_up(whole, key)
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


def look_up(whole: DictConfig, key: str) -> tuple[Any, str]:
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

"""Clauses about what a method says of itself: its settings, and how they are reached from the command line."""

import json
from dataclasses import asdict, fields
from typing import Any

from bench.app import UserError
from bench.app.compose import composed, register, register_method
from bench.config import Run, from_dict, to_dict
from bench.contract.case import Case
from bench.contract.outcome import clause
from bench.method import Method, discover

PLAIN = (int, float, str, list, Method)  # what a setting may be; bool is an int
UNKNOWN = "no_such_key"


@clause("errors")
def settings(case: Case) -> str | None:
    """Registered under its name; defaults are valid, bad values are named by their key; survives JSON."""
    method = case.method
    if discover().get(method.name) is not type(method):
        return f"expected the class to be registered as {method.name!r}, saw {discover().get(method.name)}"
    if method.errors():
        return f"expected settings without errors, saw: {'; '.join(method.errors())}"
    if not method.summary():
        return "expected a docstring whose first line says what the method does, saw none"
    bad = [f.name for f in fields(method) if not isinstance(getattr(method, f.name), PLAIN)]
    if bad:
        return f"expected settings of type int, float, str, bool, list or Method, saw another in {bad[0]}"
    run = Run(method)
    again = from_dict(json.loads(json.dumps(to_dict(run))))
    if again != run:
        return f"expected the same configuration after a round trip through JSON, saw {again.method} for {method}"
    method.learning_rate, good = -1.0, method.learning_rate
    found = method.errors()
    method.learning_rate = good
    if not any(error.startswith("method.learning_rate ") for error in found):
        return f"expected errors() to name method.learning_rate when it is -1, saw {found}; does it call super()?"
    return None


@clause("")
def overrides(case: Case) -> str | None:
    """Every field is a key of the command line: another value of it arrives."""
    wanted = others(case.method)
    chosen = _chosen(case.method)
    method = composed([*chosen, *(f"{key}={_written(value)}" for key, value in wanted.items())]).method
    assert method is not None
    seen = _flat(asdict(method))
    for key, value in wanted.items():
        if seen.get(key) != value:
            return f"expected {key}={_written(value)} to set it to {value!r}, saw {seen.get(key)!r}"
    return None


@clause("")
def unknown_keys(case: Case) -> str | None:
    """A key that the method does not have is refused by its name, with and without Hydra's plus sign."""
    keys = {f"method.{UNKNOWN}_{n}": sign for n, sign in enumerate(("", "+", "++"))}
    try:
        composed([*_chosen(case.method), *(f"{sign}{key}=1" for key, sign in keys.items())])
    except UserError as error:
        seen = str(error)
    else:
        seen = "all accepted"
    accepted = [f"{sign}{key}=1" for key, sign in keys.items() if f"no key {key!r}" not in seen]
    return f"expected {accepted[0]} to be refused by its name, saw {seen}" if accepted else None


def others(method: Method, prefix: str = "method.") -> dict[str, Any]:
    """Another value for every setting of a method and its adapter, by key."""
    found: dict[str, Any] = {}
    for field in fields(method):
        value = getattr(method, field.name)
        if isinstance(value, Method):
            found |= others(value, f"{prefix}{field.name}.")
        elif field.name != "name":
            found[prefix + field.name] = _other(value)
    return found


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + (1 if isinstance(value, int) else 0.5)
    if isinstance(value, str):
        return f"{value}x"
    return [*value, *value[:1]] if value else ["x"]


def _written(value: Any) -> str:
    """As one writes it on the command line."""
    return json.dumps(value) if isinstance(value, bool | list | str) else repr(value)


def _chosen(method: Method) -> list[str]:
    """The overrides that choose the method and its adapter, which Hydra then knows, if they came after the others."""
    register()
    register_method(method.name)
    adapters = [f.name for f in fields(method) if isinstance(getattr(method, f.name), Method)]
    return [f"method={method.name}", *(f"method/{name}={getattr(method, name).name}" for name in adapters)]


def _flat(values: dict[str, Any], prefix: str = "method.") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found

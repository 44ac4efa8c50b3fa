"""Make a dataclass of what JSON gives, with every value checked against the type of its field.

The checks of a type are put together once, as nested functions: a table of many thousands of records reads each of
them through here.
"""

import functools
import json
import sys
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

NON_FINITE = ("NaN", "Infinity", "-Infinity")  # what `bench.records.store.plain` writes for what JSON lacks
Build = Callable[[Any], Any]


class Mismatch(ValueError):
    """A value is not of its field's type; `where` grows on the way out, from the value's key to the outermost one."""

    def __init__(self, complaint: str, where: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.complaint = complaint
        self.where = list(where)

    def __str__(self) -> str:
        key = "".join(reversed(self.where)).lstrip(".")
        return self.complaint.format(key=key or "the whole")


@functools.cache
def builder(kind: Any) -> Build:
    """A function that turns a value from JSON into a `kind`.

    It raises `Mismatch`, a ValueError with the whole key, for anything that is not one.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value: value
    if origin in (Union, types.UnionType):  # only `X | None` occurs
        return _optional(builder(next(a for a in arguments if a is not type(None))))
    if origin is list:
        return _list(builder(arguments[0]))
    if origin is dict:
        return _dict(builder(arguments[1]))
    if is_dataclass(kind):
        return _dataclass(kind)
    if issubclass(kind, Enum):
        return _enum(kind)
    return {float: _float, str: _str, int: _int, bool: _bool}[kind]


def _refuse(value: Any, name: str) -> Mismatch:
    shown = json.dumps(value, default=str)[:60].replace("{", "{{").replace("}", "}}")
    return Mismatch(f"{{key}} must be {name}, got {shown}")


def _optional(inner: Build) -> Build:
    return lambda value: None if value is None else inner(value)


def _list(inner: Build) -> Build:
    def build(value: Any) -> list[Any]:
        if type(value) is not list:
            raise _refuse(value, "list")
        made: list[Any] = []
        try:
            for item in value:
                made.append(inner(item))
        except Mismatch as error:
            error.where.append(f"[{len(made)}]")
            raise
        return made

    return build


def _dict(inner: Build) -> Build:
    def build(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise _refuse(value, "dict")
        made, key = {}, ""
        try:
            for key, item in value.items():
                made[key] = inner(item)
        except Mismatch as error:
            error.where.append(f".{key}")
            raise
        return made

    return build


def _dataclass(kind: Any) -> Build:
    hints = get_type_hints(kind)
    plan = [
        (field.name, builder(hints[field.name]), field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
    ]

    def build(value: Any) -> Any:
        if type(value) is not dict:
            raise _refuse(value, kind.__name__)
        given, name = {}, ""
        try:
            for name, make, required in plan:
                if name in value:
                    given[name] = make(value[name])
                elif required:
                    raise Mismatch("the key {key} is missing")
        except Mismatch as error:
            error.where.append(f".{name}")
            raise
        return kind(**given)

    return build


def _enum(kind: type[Enum]) -> Build:
    members = {member.value: member for member in kind}

    def build(value: Any) -> Enum:
        if not isinstance(value, str) or value not in members:  # `as_plain` leaves members as they are
            raise _refuse(value, kind.__name__)
        return members[value]

    return build


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    try:
        if type(value) is int or value in NON_FINITE:
            return float(value)
    except OverflowError:  # an integer beyond every float
        pass
    raise _refuse(value, "float")


def _str(value: Any) -> str:
    if type(value) is not str:
        raise _refuse(value, "str")
    return sys.intern(value)  # most texts occur in most records


def _int(value: Any) -> int:
    if type(value) is not int or abs(value) > sys.float_info.max:  # nor True, which is an instance of int
        raise _refuse(value, "int")
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise _refuse(value, "bool")
    return value

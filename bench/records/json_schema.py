"""The JSON Schema of a record (draft 2020-12), built from the dataclasses, for readers in any language.

`python -m bench.records.json_schema` prints it; `results/record.schema.json` is that output. Descriptions are
the docstrings of the classes and the comments beside their fields.
"""

import inspect
import json
import re
import types
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from bench.records.build import NON_FINITE
from bench.records.schema import SCHEMA_VERSION, Record

SIMPLE = {str: "string", bool: "boolean", int: "integer"}


def build() -> dict[str, Any]:
    """The schema of `Record`; classes inside it stand under `$defs`."""
    definitions: dict[str, Any] = {}
    whole = _object(Record, definitions)
    whole["properties"]["schema_version"]["maximum"] = SCHEMA_VERSION
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tunebench record",
        **whole,
        "$defs": dict(sorted(definitions.items())),
    }


def text() -> str:
    """The schema as results/record.schema.json holds it."""
    return json.dumps(build(), indent=2, ensure_ascii=False) + "\n"


def _object(cls: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints, comments = get_type_hints(cls), _comments(cls)
    properties, required = {}, []
    for field in fields(cls):
        schema = _type(hints[field.name], definitions)
        if field.name in comments:
            schema["description"] = comments[field.name]
        if field.default is MISSING and field.default_factory is MISSING:
            required.append(field.name)
        properties[field.name] = schema
    return {
        "description": inspect.cleandoc(cls.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": required,
    }


def _comments(cls: type) -> dict[str, str]:
    """What the source says behind each field, by the field's name."""
    lines = inspect.getsource(cls).splitlines()
    found = (re.match(r"    (\w+): [^#]+#\s*(.+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def _type(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if origin in (Union, types.UnionType):
        inner = next(a for a in arguments if a is not type(None))
        return {"anyOf": [_type(inner, definitions), {"type": "null"}]}
    if origin is list:
        return {"type": "array", "items": _type(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(arguments[1], definitions)}
    if is_dataclass(kind):
        name = kind.__name__  # type: ignore[union-attr]
        if name not in definitions:
            definitions[name] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{name}"}
    if issubclass(kind, Enum):
        return {"enum": [member.value for member in kind], "description": inspect.cleandoc(kind.__doc__ or "")}
    if kind is float:  # a diverged run's loss is not finite, and JSON has no number for that
        return {"anyOf": [{"type": "number"}, {"enum": list(NON_FINITE)}]}
    return {"type": SIMPLE[kind]}


if __name__ == "__main__":
    print(text(), end="")

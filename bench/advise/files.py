"""Small files of settings, read without Hydra: those of `conf` and of cards."""

import json
from pathlib import Path
from typing import Any


def read_yaml(file: Path) -> dict[str, Any]:
    """The keys of a YAML file with their values.

    Raises:
        ValueError: it cannot be read, or has no keys; the message names it.
    """
    import yaml

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    return _keys(file, found)


def read_json(file: Path) -> dict[str, Any]:
    """The keys of a JSON file with their values.

    Raises:
        ValueError: it cannot be read, or has no keys; the message names it.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:  # invalid JSON or invalid UTF-8
        raise ValueError(f"{file} is not valid JSON: {error}") from error
    return _keys(file, found)


def _keys(file: Path, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{file} must hold keys with values, and holds {type(found).__name__}")
    return found

"""Records of older schema versions, brought up to date when they are read; the file stays as it is.

Each step takes the plain record of one version and makes it one of the next. A step is added, together with a test,
whenever `SCHEMA_VERSION` goes up.
"""

from collections.abc import Callable
from typing import Any

from bench.records.schema import SCHEMA_VERSION

Plain = dict[str, Any]


def _to_2(record: Plain) -> Plain:
    """Version 2 knows imported records, which name their source and may lack figures: none of version 1 is one."""
    return record


MIGRATIONS: dict[int, Callable[[Plain], Plain]] = {1: _to_2}  # by the version that a step starts from


def migrate(record: Plain) -> Plain:
    """`record`, a record of any version up to this one's, as one of this version.

    Raises:
        ValueError: its version is no number from 1 up to this one's, or cannot be migrated.
    """
    version = record.get("schema_version")
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise ValueError(f"schema_version must be a whole number from 1 to {SCHEMA_VERSION}, got {version!r}")
    for step in range(version, SCHEMA_VERSION):
        if step not in MIGRATIONS:
            raise ValueError(f"has schema version {version}, and nothing brings it from {step} to {step + 1}")
        record = {**MIGRATIONS[step](record), "schema_version": step + 1}
    return record

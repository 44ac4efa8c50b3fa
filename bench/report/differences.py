"""How records were made: their settings and their environment as flat texts, and where two of them differ."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.records.schema import Record
from bench.report.visible import visible

HOW_STARTED = ("launch.", "results", "tracker")  # settings that change nothing of what is measured


@dataclass(frozen=True)
class Difference:
    """A setting or fact that differs; a side that lacks it has an empty text."""

    key: str
    first: str
    second: str


def settings(runs: Sequence[Record]) -> dict[str, str]:
    """Every setting of the configurations by its dotted key, but for how the runs were started and their seed."""
    found = [_flat(record.config) for record in runs]
    keys = dict.fromkeys(key for each in found for key in each)
    kept = [key for key in keys if key != "seed" and not key.startswith(HOW_STARTED)]
    return {key: _union(each.get(key, "") for each in found) for key in kept}


def environment(runs: Sequence[Record]) -> dict[str, str]:
    """Every fact about where and with what the runs were made, and on which data."""
    found = [_facts(record) for record in runs]
    return {
        key: _union(each.get(key, "") for each in found) for key in dict.fromkeys(k for each in found for k in each)
    }


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[Difference]:
    """The keys whose values differ, in order."""
    keys = dict.fromkeys([*first, *second])
    pairs = [Difference(*map(visible, (key, first.get(key, ""), second.get(key, "")))) for key in keys]
    return [pair for pair in pairs if pair.first != pair.second]


def _facts(record: Record) -> dict[str, str]:
    place = _flat(asdict(record.environment)) if record.environment else {}
    data = record.data
    return place | {
        "tunebench_version": record.tunebench_version,
        "data.fingerprint": (data.fingerprint or "") if data else "",
        "data.sizes": json.dumps(data.sizes) if data else "",
        "source": f"{record.source.name} {record.source.commit or ''}".strip() if record.source else "",
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.") if value else {prefix + key: "{}"}
        else:
            found[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return found


def _union(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(value for value in values if value))

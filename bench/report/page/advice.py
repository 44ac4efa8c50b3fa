"""The advisor's answers that the page carries: `tunebench advise` leaves them in the cache, figures for every card.

With them the page tells for any card which methods fit and how long they take, as a few comparisons of figures.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.records.cache_dir import cache_dir
from bench.records.kept import own

VERSION = 1  # of the files; others are passed over


def folder() -> Path | None:
    """Where the answers lie; None if there shall be no cache."""
    found = cache_dir()
    return None if found is None else found / "advice"


def answers(models: Iterable[str]) -> list[dict[str, Any]]:
    """The answers for models of these names, by title."""
    place, wanted = folder(), set(models)
    if place is None or not own(place):
        return []
    found = [answer for file in sorted(place.glob("*.json")) if (answer := _read(file)) and answer["model"] in wanted]
    return sorted(found, key=lambda answer: str(answer["title"]))


def _read(file: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("version") == VERSION else None

"""What each method can do, as `bench.contract.probe` found it by trying; the file is read without torch."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.paths import methods_dir

FILE = "capabilities.json"  # beside the methods, made by `python -m bench.contract.probe`
NOT_PROBED = "not probed; `tunebench check method=NAME` tries it"
LEGEND = """\
learns from: right answers, or pairs of a right and a wrong one. merges: becomes one model of the base's architecture.
several: adapters that lie over one copy of the base, one of them active. quantised: bits of bases that it trains on.
recomputes: trains with train.gradient_checkpointing. layers: what it changes. not on: kinds of models it refuses.
"""


@dataclass(frozen=True)
class Capabilities:
    """Of one method with its defaults, tried on tiny models.

    Attributes:
        learns_from: `answers`, or `pairs` of a right and a wrong one.
        merges: whether the result becomes one model that computes the same.
        several: whether two of its results lie over one copy of the base, one of them active.
        quantised: bits of the quantised bases on which it trains.
        recomputes: whether it trains with gradient checkpointing.
        layers: what it changes: `linear`, `embeddings`, `norms`, `attention`, `feed-forward`, `input`.
        not_on: the families of tiny models that it refuses, with the reason.
    """

    learns_from: str
    merges: bool
    several: bool
    quantised: tuple[int, ...]
    recomputes: bool
    layers: tuple[str, ...]
    not_on: dict[str, str]

    def cells(self) -> list[str]:
        """In words, a cell for each of `HEADERS`."""
        bits = ", ".join(map(str, self.quantised))
        yes = [("yes" if value else "no") for value in (self.merges, self.several, self.recomputes)]
        return [self.learns_from, yes[0], yes[1], bits or "no", yes[2], ", ".join(self.layers), ", ".join(self.not_on)]


HEADERS = ["learns from", "merges", "several", "quantised", "recomputes", "layers", "not on"]


def path() -> Path:
    """Of the file."""
    return methods_dir() / FILE


def known() -> dict[str, Capabilities]:
    """Of the methods and named variants that tunebench ships, by name; a plugin's are not among them."""
    plain = json.loads(path().read_text(encoding="utf-8")) if path().is_file() else {}
    return {name: from_plain(values) for name, values in plain.items()}


def from_plain(values: dict[str, Any]) -> Capabilities:
    """The inverse of what `write` writes of one."""
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Capabilities(**values | lists)


def write(found: dict[str, Capabilities]) -> None:
    """Put all of them into the file."""
    plain = {name: asdict(each) for name, each in sorted(found.items())}
    path().write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def table(names: list[str]) -> list[list[str]]:
    """Rows of words for these methods, their names first; a plugin's say that they are not probed."""
    found = known()
    return [[name, *(found[name].cells() if name in found else [NOT_PROBED])] for name in names]

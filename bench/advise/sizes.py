"""What is known of a model's architecture, stated or from its config.json; neither torch nor the network is asked."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.advise import hub
from bench.advise.files import read_json, read_yaml
from bench.paths import conf_dir

NAMES = {
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "vocabulary": ("vocab_size",),
}
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def sizes(model: Mapping[str, Any]) -> dict[str, int] | None:
    """`hidden`, `layers` and `vocabulary` of a model; None if its files are not here and the catalogue lacks it.

    Args:
        model: the part `model` of a run.
    """
    known = facts(model)
    found = {key: whole(known, *names) for key, names in NAMES.items()}
    return found if all(found.values()) else None


def whole(known: Mapping[str, Any], *names: str) -> int:
    """The first of these facts that is a number; 0 where none is."""
    return next((value for name in names if isinstance(value := known.get(name), int) and value > 0), 0)


def facts(model: Mapping[str, Any]) -> dict[str, Any]:
    """What is stated of the architecture of `model`, or known of its path; of a multimodal one that of its text part.

    Raises:
        ValueError: its config.json cannot be read.
    """
    found: dict[str, Any] = dict(model.get("architecture") or architecture(str(model.get("path", ""))))
    inner = found.get("text_config")
    return found | inner if isinstance(inner, dict) else found


def architecture(path: str) -> dict[str, Any]:
    """What is known of the architecture behind a `model.path`; empty where nothing is.

    That is the config.json of an embedded model or a folder, or what the catalogue states, or a config.json that was
    fetched from the Hub before.

    Raises:
        ValueError: its config.json cannot be read.
    """
    from bench.models.locate import EMBEDDED, PREFIX

    folder = EMBEDDED / path.removeprefix(PREFIX) if path.startswith(PREFIX) else Path(path).expanduser()
    if path and (folder / "config.json").is_file():
        return read_json(folder / "config.json")
    if path.lower() in catalogue():
        return catalogue()[path.lower()]
    fetched = hub.kept(path) if HUB_ID.fullmatch(path) else None
    return read_json(fetched) if fetched else {}


def catalogue() -> dict[str, dict[str, Any]]:
    """The stated architectures of the models in `conf/model`, by path in lower case."""
    return _stated(conf_dir() / "model")


@functools.cache
def _stated(folder: Path) -> dict[str, dict[str, Any]]:
    models = [read_yaml(file) for file in folder.glob("*.yaml")]
    return {str(m["path"]).lower(): m["architecture"] for m in models if "architecture" in m and "path" in m}

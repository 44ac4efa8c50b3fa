"""The sizes of a model that formulas ask for, from stated facts or its config.json; torch and the network are not."""

import json
from pathlib import Path
from typing import Any

from bench.paths import PACKAGE, conf_dir

NAMES = {
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "vocabulary": ("vocab_size",),
}
EMBEDDED = "embedded:"


def sizes(model: dict[str, Any]) -> dict[str, int] | None:
    """`hidden`, `layers` and `vocabulary` of a model; None if its files are not here and the catalogue lacks it.

    Args:
        model: the part `model` of a run.
    """
    facts = model.get("architecture") or architecture(str(model.get("path", "")))
    found = {key: next((facts[n] for n in names if n in facts), None) for key, names in NAMES.items()}
    return None if None in found.values() else {key: int(value) for key, value in found.items() if value is not None}


def architecture(path: str) -> dict[str, Any]:
    """What is known of the architecture behind a `model.path`: of an embedded model, a folder, or by the catalogue."""
    folder = PACKAGE / "models" / "embedded" / path.removeprefix(EMBEDDED) if path.startswith(EMBEDDED) else Path(path)
    if path and (folder / "config.json").is_file():
        found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return found
    return catalogue().get(path.lower(), {})


def catalogue() -> dict[str, dict[str, Any]]:
    """The stated architectures of the models in `conf/model`, by path in lower case."""
    import yaml

    files = (conf_dir() / "model").glob("*.yaml")
    models = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]
    return {str(m["path"]).lower(): m["architecture"] for m in models if "architecture" in m and "path" in m}

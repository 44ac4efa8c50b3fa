"""Checkpoints whose weights are quantised already: which they are, and whether they can be loaded as they are."""

from importlib.util import find_spec
from typing import Any

from bench.config import Model

# What transformers loads them with, by `quant_method` in config.json: modules to import, packages to install.
LIBRARIES = {
    "gptq": (("gptqmodel", "optimum"), "gptqmodel optimum"),
    "awq": (("gptqmodel",), "gptqmodel"),
    "hqq": (("hqq",), "hqq"),
    "bitsandbytes": (("bitsandbytes",), "bitsandbytes"),
}


def quantised(model: Model, config: Any) -> str:
    """How the checkpoint of a model stores its weights: "gptq", "awq", "hqq", ...; empty where they are as they are."""
    settings = getattr(config, "quantization_config", None)
    if settings is None or model.weights == "random":
        return ""
    found = settings.get("quant_method") if isinstance(settings, dict) else settings.quant_method
    return str(getattr(found, "value", found) or "bitsandbytes")  # which said nothing of itself at first


def check(model: Model, config: Any, again: bool) -> None:
    """Check that the weights can be loaded as they are.

    Args:
        model: which one.
        config: of its checkpoint.
        again: whether they shall be quantised when they are loaded.

    Raises:
        ValueError: they shall be quantised once more, or a library is not installed.
    """
    stored = quantised(model, config)
    if not stored:
        return
    if again:
        raise ValueError(
            f"model.path: the weights of {model.path} are quantised already ({stored}), and cannot be again"
        )
    modules, packages = LIBRARIES.get(stored, ((), ""))
    if any(find_spec(module) is None for module in modules):
        lacking = f"need a library that is not installed: pip install {packages}"
        raise ValueError(f"model.path: the weights of {model.path} are quantised ({stored}) and {lacking}")

"""Write a trained model as folders that peft and transformers load by themselves."""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from bench.config import Run
from bench.data import chat, tasks, templates
from bench.models import load, locate
from bench.trained.card import base_location, card
from bench.trained.find import Finished
from bench.trained.model import base_dtype, merged

CARD = "README.md"


def adapter(found: Finished, folder: Path) -> list[str]:
    """Write the adapter to `folder` as peft reads it, and return what is to be known about it.

    Raises:
        ValueError: what was trained is no adapter of peft's, or its base is nowhere to be loaded from.
    """
    title, model = found.method.title(), found.run.model
    if not found.is_adapter:
        merge = "--merge writes the whole model" if found.method.mergeable() else "tunebench chat can use them"
        raise ValueError(f"what {title} trains is no adapter of peft's, and nothing else could load it; {merge}")
    if model.weights == "random":
        raise ValueError(
            f"the base, {model.name}, has random weights that exist nowhere; --merge writes the whole model"
        )
    config = json.loads((found.weights / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base = base_location(found)
    if model.revision != "main" and not Path(base).is_dir():
        config["revision"] = model.revision
    notes = []
    quantization = found.method.quantization()
    if quantization is not None:
        stored = "8 bits" if quantization.bits == 8 else quantization.data_type
        notes.append(f"it was trained on the base in {stored}, stored by bitsandbytes")
    if Path(base).is_dir():
        notes.append(f"its base is a folder of this machine, {base}")
    folder.mkdir(parents=True, exist_ok=True)
    for file in found.weights.glob("*.safetensors"):
        shutil.copy2(file, folder)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    _describe(found, folder, False, notes)
    return notes


def whole(found: Finished, folder: Path, dtype: str = "") -> list[str]:
    """Write the model with what was trained merged into it, and return what is to be known about it.

    Args:
        found: the run.
        folder: is made.
        dtype: of the weights as they are written; empty: that of the run's base, float32 where it was trained itself.

    Raises:
        ValueError: the method cannot be merged.
    """
    if not found.method.mergeable() and found.is_adapter:
        raise ValueError(f"{found.method.title()} cannot be merged into the base; --adapter writes what it trained")
    environment = found.record.environment
    own = base_dtype(found.run, environment.device if environment is not None else "cpu")
    model, tokenizer = merged(found, "cpu", own)
    notes = []
    if found.method.quantization() is not None:
        words = str(own).removeprefix("torch.")
        notes.append(f"trained on a quantised base, it is merged into the base in {words}, so answers may differ")
    template = chat.other_template(tokenizer, found.run.data.template)
    if template is not None and _conversations(found.run):
        tokenizer.chat_template = template
    model.generation_config = _generation(found.run) or model.generation_config
    if dtype:
        model.to(load.default_dtype(dtype, "cpu"))
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _describe(found, folder, True, notes)
    return notes


def _conversations(run: Run) -> bool:
    """Whether the run's rows are conversations, which were written in a chat template."""
    if run.task.source != "file" or templates.used(run.task):
        return run.task.chat or bool(run.task.system)
    return not isinstance(tasks.load(run.task, run.data).train[0].prompt, str)


def _generation(run: Run) -> Any:
    """The base's own settings for generation, which users of the base know; None where it has none."""
    if run.model.weights == "random":
        return None
    try:
        return GenerationConfig.from_pretrained(locate.resolve(run.model.path), revision=run.model.revision)
    except OSError:
        return None


def _describe(found: Finished, folder: Path, merged: bool, notes: list[str]) -> None:
    kind = load.info(found.run.model, "cpu").kind
    (folder / CARD).write_text(card(found, merged, kind, notes), encoding="utf-8")

"""The README of an exported model: what its run's record knows, as the Hugging Face Hub reads it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.models import locate
from bench.records import store
from bench.records.schema import Evaluation
from bench.trained.find import Finished

LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes")
LOADED_AS = {
    "causal": "AutoModelForCausalLM",
    "classifier": "AutoModelForSequenceClassification",
    "seq2seq": "AutoModelForSeq2SeqLM",
}


def base_location(found: Finished) -> str:
    """Where others load the base model from: its id on the Hub, or an absolute path."""
    place = locate.resolve(found.run.model.path)
    return str(Path(place).resolve()) if Path(place).is_dir() else place


def card(found: Finished, merged: bool, kind: str, notes: list[str]) -> str:
    """The README: how to load the model, how it was trained, what it scores.

    Args:
        found: the run.
        merged: it is a whole model, else an adapter.
        kind: of the base model.
        notes: what is to be known beside that.
    """
    run, record = found.run, found.record
    base = base_location(found)
    about = " ".join(line.strip() for line in (type(found.method).__doc__ or "").splitlines() if line.strip())
    settings = {part: record.config[part] for part in ("method", "train")}
    parts = [
        _head(found, base, merged),
        f"# {record.method} on {run.model.name}, {run.task.name}",
        f"{'A model' if merged else 'An adapter'} trained by tunebench. {about}",
        *(f"Note: {note}." for note in notes),
        _loading(base, run.model.revision, merged, kind),
        "## Training",
        _training(found),
        "## Scores",
        _scores(found),
        "## Configuration",
        "```json\n" + json.dumps(settings, indent=1) + "\n```",
        "## Versions",
        _versions(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(found: Finished, base: str, merged: bool) -> str:
    """The metadata that the Hub reads; a JSON text is YAML too."""
    run = found.run
    lines = [f"library_name: {'transformers' if merged else 'peft'}"]
    if not Path(base).is_dir():
        lines.append(f"base_model: {json.dumps(base)}")
        lines.append(f"base_model_relation: {'finetune' if merged else 'adapter'}")
    if run.task.source == "hub" and not run.data.train:
        lines.append(f"datasets: {json.dumps([run.task.path])}")
    lines.append(f"tags: {json.dumps(['tunebench', found.method.name])}")
    return "\n".join(["---", *lines, "---"])


def _loading(base: str, revision: str, merged: bool, kind: str) -> str:
    name = LOADED_AS[kind]
    if merged:
        code = f'from transformers import {name}\n\nmodel = {name}.from_pretrained("PATH")'
    else:
        at = f', revision="{revision}"' if revision != "main" else ""
        at += ", num_labels=..." if kind == "classifier" else ""
        code = (
            f"from peft import PeftModel\nfrom transformers import {name}\n\n"
            f'base = {name}.from_pretrained("{base}"{at})\nmodel = PeftModel.from_pretrained(base, "PATH")'
        )
    return f"```python\n{code}\n```"


def _training(found: Finished) -> str:
    run, record = found.run, found.record
    training, data, parameters = record.training, record.data, record.parameters
    lines = [f"- run: {record.run_id}, {record.finished_at}"]
    if data is not None:
        sizes = ", ".join(f"{name} {size:,}" for name, size in data.sizes.items())
        lines.append(
            f"- data: {run.data.train or run.task.path or run.task.name} ({sizes}; SHA-256 {data.fingerprint})"
        )
    if training is not None:
        lines.append(
            f"- {training.steps:,} steps of {run.train.batch_size} examples, {training.tokens:,} tokens, "
            f"learning rate {training.learning_rate:g}, computed in {training.precision}"
        )
    if parameters is not None:
        lines.append(f"- {parameters.trainable:,} parameters trained")
    return "\n".join([*lines, f"- seed {record.seed}"])


def _scores(found: Finished) -> str:
    """A table of all scores, beside those of the base where its record lies beside the run's."""
    own = _flat(found.record.evaluation)
    path = found.folder.parent / found.run.base().run_id() / store.RECORD
    try:
        before = _flat(store.read(path).evaluation) if path.is_file() else {}
    except store.DamagedRecord:
        before = {}
    if not own:
        return "none were measured"
    rows = [f"| {name} | {value:.4g} | {_cell(before.get(name))} |" for name, value in own.items()]
    return "\n".join(["| | this model | its base |", "|---|---:|---:|", *rows])


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _flat(evaluation: Evaluation | None) -> dict[str, float]:
    found: dict[str, float] = {}
    if evaluation is None:
        return found
    for name, scores in (("validation", evaluation.validation), ("test", evaluation.test)):
        if scores is None:
            continue
        values: dict[str, Any] = {"loss": scores.loss, **{key: m.value for key, m in scores.metrics.items()}}
        found |= {f"{name} {key.replace('_', ' ')}": value for key, value in values.items() if value is not None}
    rest = asdict(evaluation)
    return found | {key: rest[key] for key in ("general_loss", "forgetting") if rest[key] is not None}


def _versions(found: Finished) -> str:
    environment = found.record.environment
    versions = [f"tunebench {found.record.tunebench_version}"]
    if environment is not None:
        versions += [f"{name} {version}" for name, version in environment.libraries.items() if name in LIBRARIES]
        versions.append(f"on {environment.device_name}")
    return ", ".join(versions)

"""The results of huggingface/peft's method_comparison: Llama-3.2-3B trained on MetaMathQA, tested on GSM8K.

Its `method_comparison/MetaMathQA/run.py` writes one JSON file for each experiment. What its figures mean is taken
from that program, and every record says it in the notes of its source; a figure with another meaning than ours
stands in another field than ours, or in none.
"""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.imports.importer import Imported, Importer, optional, value
from bench.records.schema import (
    Data,
    Environment,
    Evaluation,
    Metric,
    Parameters,
    Phase,
    Record,
    Scores,
    Source,
    Status,
    Training,
)

TITLE, URL = "huggingface/peft method_comparison", "https://github.com/huggingface/peft"
INSIDE = "method_comparison/MetaMathQA/results"
VALIDATION, TEST = 50, 1319  # examples: of GSM8K's training split, shuffled with seed 0, and all of its test split
PHASE = "load, train and test"  # what its maximum of memory is taken over
NO_FILE = 99_999_999  # what its program puts for the size of a checkpoint that could not be saved
PACKAGES = ("torch", "transformers", "peft", "datasets", "bitsandbytes")
ACCURACY, FORGETTING = "gsm8k_accuracy", "forgetting_as_reported"

NOTES = {
    "seed": "as stated; it had no effect, the program sets torch's seed to 0 again after it and never shuffles "
    "(this and all that follows is taken from the source's run.py as of 2025 and 2026)",
    "training.seconds": "sum of the steps' own times (batch, forward, backward, optimizer), none left out; the "
    "source's `train_time` also holds tokenisation, the loss on general text and the generation on the test split",
    "training.tokens_per_s": "tokens of prompt and answer, and one end token an example, by the sum of step times",
    "training.final_loss": "of the whole text, prompt included; mean of the last tenth of the steps",
    "steps.jsonl": "a line is the mean or sum of as many steps as its `mean_of` says",
    f"evaluation.test.metrics.{ACCURACY}": f"{TEST} answers, generated and parsed by the source's own program; "
    "generation settings that it leaves open come from the model's generation_config",
    f"evaluation.validation.metrics.{ACCURACY}": f"{VALIDATION} examples, at the last step",
    f"evaluation.test.metrics.{FORGETTING}": "loss on general text after minus before the training; the source's "
    "program compares the output at a token with that token, not with the next one, so it is no next-token loss",
    "phases.peak_reserved_bytes": "the most memory that the allocator held reserved over loading, training, "
    "validation and test together, less what was reserved at the start; not the peak of allocated memory",
    "phases.seconds": "the source's `total_time`",
    "environment.git_commit": "of the source's checkout, which its program belongs to",
    "checkpoint_bytes": "of full fine-tuning estimated from the number of parameters, else of the saved adapter",
}


def read(path: Path, commit: str | None) -> Imported:
    """One result file as a record.

    Raises:
        ValueError: it is no JSON, or lacks something that every result has.
    """
    data = _parse(path)
    run, info = value(data, "run_info", dict), value(data, "train_info", dict)
    windows = [line for line in value(info, "metrics", list) if optional(line, "train time", float) is not None]
    ends = [line for line in info["metrics"] if optional(line, "test accuracy", float) is not None]
    last: dict[str, Any] = ends[-1] if ends else {}
    status, reason = _status(run, info)
    if status is Status.OK and not ends:
        raise ValueError("train_info.metrics has no test accuracy, though the run succeeded")
    started = datetime.fromisoformat(value(run, "created_at", str)).astimezone(UTC)
    experiment = value(run, "experiment_name", str)
    if not experiment:
        raise ValueError("run_info.experiment_name is empty")
    method, _, variant = experiment.partition("/")
    source = Source(TITLE, URL, f"{INSIDE}/{path.name}", commit, "Apache-2.0", NOTES)
    record = Record(
        run_id=path.stem, group=hashlib.sha256(experiment.encode()).hexdigest()[:8], method=method,
        model=_model_name(run), task="metamathqa-gsm8k", seed=value(run, "train_config.seed", int), status=status,
        started_at=started.isoformat(timespec="seconds"),
        finished_at=(started + timedelta(seconds=value(run, "total_time", float))).isoformat(timespec="seconds"),
        config=_config(run, method, _short(variant, _model_name(run)), value(data, "meta_info", dict)),
        reason=reason, failed_phase=None if status is Status.OK else "evaluate" if _trained(run, windows) else "train",
        environment=_environment(data["meta_info"], run),
        data=Data(None, {"validation": VALIDATION, "test": TEST}, kind="math"),
        parameters=_parameters(info), phases=[_phase(run, info)], training=_training(run, windows, last),
        evaluation=_evaluation(run, windows, last), checkpoint_bytes=_checkpoint(info), source=source,
    )  # fmt: skip
    return Imported(record, [_step(line, run) for line in windows])


def _parse(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # invalid JSON or invalid UTF-8
        raise ValueError(f"is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError("is not a JSON object")
    return data


def _status(run: dict[str, Any], info: dict[str, Any]) -> tuple[Status, str | None]:
    """Its program knows `success` and `canceled`, and says in a message whether memory, an error or a user did it."""
    stated = value(info, "status", str)
    if stated == "success":
        return Status.OK, None
    message = optional(run, "error_msg", str) or f"the source says {stated!r} and no more"
    if "out of memory" in message.lower():
        return Status.OOM, message
    return (Status.INTERRUPTED if message == "manually canceled" else Status.FAILED), message


def _model_name(run: dict[str, Any]) -> str:
    return value(run, "train_config.model_id", str).rpartition("/")[2]


def _short(variant: str, model: str) -> str:
    """The rest of an experiment's name without the model, which most begin with."""
    return re.sub(rf"^{re.escape(model)}-", "", variant, flags=re.IGNORECASE) or variant


def _config(run: dict[str, Any], method: str, variant: str, meta: dict[str, Any]) -> dict[str, Any]:
    """The settings under our names where they have ours, and whole under those of the source."""
    settings, adapter = value(run, "train_config", dict), optional(run, "peft_config", dict)
    if adapter is not None:  # its sets are written in any order
        adapter = {key: sorted(part) if _texts(part) else part for key, part in adapter.items()}
    revisions = {name: optional(meta, f"dataset_info.{name}.sha", str) for name in ("metamath", "gsm8k")}
    return {
        "method": {"name": method, "experiment": variant},
        "model": {
            "name": _model_name(run),
            "path": settings["model_id"],
            "revision": optional(meta, "model_info.sha", str),
            "dtype": value(settings, "dtype", str),
        },
        "task": {"name": "metamathqa-gsm8k"},
        "budget": {"steps": value(settings, "max_steps", int)},
        "seed": settings["seed"],
        "train_config": settings,
        "peft_config": adapter,
        "datasets": revisions,
    }


def _texts(part: Any) -> bool:
    return isinstance(part, list) and all(isinstance(each, str) for each in part)


def _environment(meta: dict[str, Any], run: dict[str, Any]) -> Environment:
    system = value(meta, "system_info", dict)
    device = optional(system, "accelerator", str) or value(system, "gpu", str)
    found = {name: optional(meta, f"package_info.{name}-version", str) for name in PACKAGES}
    return Environment(
        hardware=re.sub(r"[^a-z0-9.]+", "-", device.lower()).strip("-"),
        device="xpu" if "intel" in device.lower() else "cuda",  # its program runs on these two
        device_name=device,
        device_memory_bytes=None,
        host_memory_bytes=None,
        cpu=None,
        cpu_cores=None,
        threads=None,
        platform="-".join(str(system[key]) for key in ("system", "release", "machine") if key in system),
        python=None,
        libraries={name: version for name, version in found.items() if version},
        git_commit=optional(meta, "package_info.peft-commit-hash", str),
        git_dirty=optional(run, "peft_worktree_is_dirty", bool),
    )


def _parameters(info: dict[str, Any]) -> Parameters | None:
    trainable, total = optional(info, "num_trainable_params", int), optional(info, "num_total_params", int)
    return None if trainable is None or total is None else Parameters(trainable, total)


def _phase(run: dict[str, Any], info: dict[str, Any]) -> Phase:
    """Until June 2025 the key spoke of CUDA."""
    peak = optional(info, "accelerator_memory_max", int)
    peak = optional(info, "cuda_memory_max", int) if peak is None else peak
    return Phase(PHASE, value(run, "total_time", float), "cuda", None, peak_reserved_bytes=peak)


def _trained(run: dict[str, Any], windows: list[dict[str, Any]]) -> bool:
    return bool(windows) and windows[-1].get("step") == run["train_config"]["max_steps"]


def _tokens(line: dict[str, Any]) -> int:
    """Of a window of steps: it gives the quotient of this number and the time."""
    return round(value(line, "tokens / sec", float) * line["train time"])


def _training(run: dict[str, Any], windows: list[dict[str, Any]], last: dict[str, Any]) -> Training | None:
    if not windows:
        return None
    settings = run["train_config"]
    seconds = sum(line["train time"] for line in windows)
    full = optional(run, "peft_config", dict) is None
    wide = not full and value(settings, "autocast_adapter_dtype", bool)
    dtype = f"unknown (weights {settings['dtype']})" if settings["dtype"].startswith("int") else settings["dtype"]
    return Training(
        steps=value(windows[-1], "step", int),
        warmup_steps=0,
        examples=value(windows[-1], "train samples", int),
        tokens=optional(last, "train total tokens", int) or sum(map(_tokens, windows)),
        trained_tokens=None,
        seconds=seconds,
        step_s=None,
        tokens_per_s=sum(map(_tokens, windows)) / seconds,
        trained_tokens_per_s=None,
        first_loss=None,
        final_loss=_final_loss(settings, windows),
        learning_rate=value(settings, "optimizer_kwargs.lr", float),
        optimizer=value(settings, "optimizer_type", str),
        precision="mixed" if value(settings, "use_amp", bool) else dtype,
        trainable_dtype="float32" if wide else settings["dtype"],
        loss="full",
        micro_batch_size=value(settings, "batch_size", int),
        gradient_accumulation=1,
    )


def _final_loss(settings: dict[str, Any], windows: list[dict[str, Any]]) -> float | None:
    """Mean of the last tenth of the steps, if they are whole windows of a training that reached its end."""
    steps, window = settings["max_steps"], value(settings, "eval_steps", int)
    if windows[-1]["step"] != steps or steps % (10 * window):
        return None
    tail = windows[-(steps // 10 // window) :]
    return sum(value(line, "train loss", float) for line in tail) / len(tail)


def _evaluation(run: dict[str, Any], windows: list[dict[str, Any]], last: dict[str, Any]) -> Evaluation | None:
    if not windows:
        return None
    generation = {"method": "generation_kwargs", **(optional(run, "train_config.generation_kwargs", dict) or {})}
    accuracy = Metric(value(windows[-1], "valid accuracy", float), 1, True)
    validation = Scores(VALIDATION, None, {ACCURACY: accuracy})
    if not last:
        return Evaluation(validation, decoding=generation)
    test = Scores(TEST, None, {ACCURACY: Metric(last["test accuracy"], 1, True)})
    forgetting = optional(last, "forgetting", float)
    if forgetting is not None:
        test.metrics[FORGETTING] = Metric(forgetting, 1, False)
    return Evaluation(validation, test, decoding=generation)


def _checkpoint(info: dict[str, Any]) -> int | None:
    size = optional(info, "file_size", int)
    return None if size == NO_FILE else size


def _step(line: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    return {
        "step": value(line, "step", int),
        "loss": value(line, "train loss", float),
        "seconds": line["train time"],
        "tokens": _tokens(line),
        "mean_of": value(run, "train_config.eval_steps", int),
    }


IMPORTER = Importer("peft-method-comparison", TITLE, URL, INSIDE, "*.json", read)

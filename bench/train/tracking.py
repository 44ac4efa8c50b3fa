"""Experiment trackers (TensorBoard, MLflow, Weights & Biases, Trackio), through transformers' own integrations.

They show the steps while they happen; records and tables do not depend on them. Each tracker's own environment
variables say where its server is and what the project is called.
"""

import atexit
import os
from pathlib import Path
from typing import Any

PROJECT = "tunebench"


def settings(tracker: str, run_id: str, log_every: int) -> dict[str, Any]:
    """Arguments for transformers' `TrainingArguments`."""
    if tracker == "none":
        return {"report_to": "none", "logging_strategy": "no"}
    return {
        "report_to": tracker,
        "logging_strategy": "steps",
        "logging_steps": log_every,
        "logging_first_step": True,
        "run_name": run_id,
        "project": os.environ.get("TRACKIO_PROJECT", PROJECT),
    }


def prepare(tracker: str, folder: Path) -> None:
    """Say where local files go, and what a project is called, unless the user's environment says so."""
    if tracker == "tensorboard":
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    for variable in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.setdefault(variable, PROJECT)


def finish(tracker: str) -> None:
    """Let the tracker send what it still holds: a child process ends without the usual farewell."""
    if tracker != "none":
        atexit._run_exitfuncs()

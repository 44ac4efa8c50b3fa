"""The ten published runs: their facts, and the operations of their steps."""

import json
from functools import cache
from pathlib import Path

from bench.advise import cards
from bench.advise.fitting import Measured
from bench.advise.trace import Operation, Trace

HERE = Path(__file__).parent
FULL, LORA = "full-finetuning/llama-3.2-3B-lr_0.00001", "lora/llama-3.2-3B-rank32"


@cache
def measured() -> dict[str, Measured]:
    """Each run's step with its time, by the experiment's name."""
    rows = json.loads((HERE / "published.json").read_text(encoding="utf-8"))["rows"]
    traced = json.loads((HERE / "published_operations.json").read_text(encoding="utf-8"))["rows"]
    return {
        row["experiment_name"]: Measured(
            trace(traced[row["experiment_name"]]["operations"], **_sizes(traced[row["experiment_name"]])),
            row["step_seconds"] / row["max_steps"],
            cards.load(row["accelerator"]),
        )
        for row in rows
    }


def _sizes(made: dict[str, int]) -> dict[str, int]:
    return {"dispatches": made["dispatches"], "tokens": made["tokens"]}


def trace(operations: list[list], dispatches: int = 0, tokens: int = 1) -> Trace:
    """A trace of these operations, without memory."""
    known = tuple(Operation(*each) for each in operations)
    return Trace(0, 0, 0, 0, {}, "", 0, 0, 0, known, dispatches, tokens, 1)

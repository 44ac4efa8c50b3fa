"""What every method must keep, as clauses that can be run on any method and any small base model.

    for outcome in contract.check(method, contract.tiny_model(folder)):
        print(outcome)

A clause is a function that takes a `Case` and returns an `Outcome`: kept, unsupported with a reason, or broken with
what was expected, what was seen and where to look. `tunebench check method=NAME` prints them, the pytest option
`--tunebench-method NAME` makes tests of them, and the tests of tunebench run all of them over every registered method.
"""

from collections.abc import Iterator, Sequence

from bench.config import Model
from bench.contract.case import Case
from bench.contract.declared import overrides, settings, unknown_keys
from bench.contract.outcome import Clause, Outcome, Unsupported, clause
from bench.contract.trained import base_weights, bfloat16, checkpointing, loss_falls, seeds, trainable
from bench.contract.used import generation, merging, reload_same, traceable
from bench.method import Method
from bench.models.tiny import tiny_model

__all__ = [
    "CLAUSES",
    "DECLARED",
    "Case",
    "Clause",
    "Outcome",
    "Unsupported",
    "check",
    "clause",
    "outcomes",
    "tiny_model",
]

DECLARED = (settings, overrides, unknown_keys)  # say nothing of a model
CLAUSES: tuple[Clause, ...] = (
    *DECLARED,
    trainable,
    base_weights,
    loss_falls,
    seeds,
    checkpointing,
    bfloat16,
    reload_same,
    merging,
    generation,
    traceable,
)


def outcomes(case: Case, clauses: Sequence[Clause] = CLAUSES) -> Iterator[Outcome]:
    """Run clauses, one after the other."""
    if traceable in clauses:
        _ = case.traced  # made in another process beside the training
    for each in clauses:
        yield each(case)


def check(method: Method, model: str | Model) -> list[Outcome]:
    """Run all clauses for a method on a model, best a tiny one; what the method raises breaks a clause.

    Args:
        method: with the settings that shall be checked.
        model: the folder of a model, or its settings.

    Raises:
        ValueError: the method does not support the model.
    """
    return list(outcomes(Case(method, model)))

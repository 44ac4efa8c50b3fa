"""What every method must keep, as clauses that can be run on any method and any small base model.

    for outcome in contract.check(method, contract.tiny_model(folder)):
        print(outcome)

A clause is a function that takes a `Case` and returns an `Outcome`: kept, unsupported with a reason, or broken with
what was expected, what was seen and where to look. `tunebench check method=NAME` prints them, the pytest option
`--tunebench-method NAME` makes tests of them, and the tests of tunebench run all of them over every registered method.
"""

from bench.config import Model
from bench.contract.case import Case
from bench.contract.declared import overrides, settings, unknown_keys
from bench.contract.outcome import Clause, Outcome, Unsupported, clause
from bench.contract.trained import base_weights, bfloat16, checkpointing, loss_falls, seeds, trainable
from bench.contract.used import generation, merging, reload_same, traceable
from bench.method import Method
from bench.models.tiny import tiny_model

__all__ = ["CLAUSES", "DECLARED", "Case", "Clause", "Outcome", "Unsupported", "check", "clause", "tiny_model"]

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


def check(method: Method, model: str | Model) -> list[Outcome]:
    """Run all clauses for a method on a model, best a tiny one; what the method raises breaks a clause.

    Args:
        method: with the settings that shall be checked.
        model: the folder of a model, or its settings.

    Raises:
        ValueError: the method does not support the model.
    """
    case = Case(method, model)
    return [clause(case) for clause in CLAUSES]

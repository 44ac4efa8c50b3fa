"""The objectives: what a method learns from, and what that asks of data, loop and advice.

A method names its objective (`Method.objective`); everything else asks the facts here instead of comparing names.
The losses are in `bench.train.losses`, the trainers in `bench.train.trainers`. This module imports nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Objective:
    """What is known of an objective before anything is loaded.

    Attributes:
        name: as `Method.objective` has it.
        summary: what it does, in a few words.
        preferences: whether it learns from pairs of a right and a rejected answer; else from right answers.
        reference: whether its loss compares the model with the untouched base.
        mismatched: whether it also reads every prompt with the answers of another pair.
        settings: fields that its loss reads of the method.
    """

    name: str
    summary: str
    preferences: bool = True
    reference: bool = False
    mismatched: bool = False
    settings: tuple[str, ...] = ()

    @property
    def sequences(self) -> int:
        """Rows that a training step reads, with gradient, of one example."""
        return 2 if self.preferences else 1


OBJECTIVES = {
    each.name: each
    for each in (
        Objective("sft", "learn the answers", preferences=False),
        Objective(
            "dpo", "prefer right to wrong", reference=True, settings=("beta", "loss_type", "label_smoothing")
        ),
        Objective(
            "kto",
            "right and wrong answers by themselves",
            reference=True,
            mismatched=True,
            settings=("beta", "desirable_weight", "undesirable_weight"),
        ),
        Objective("orpo", "learn the answers and prefer them by their odds", settings=("beta",)),
        Objective("cpo", "prefer right to wrong without the base", settings=("beta", "loss_type", "alpha", "gamma")),
    )
}  # fmt: skip


def of(method: object) -> Objective:
    """The objective of a method; that of the untouched base (None) is the supervised one, which asks for nothing."""
    return OBJECTIVES[getattr(method, "objective", "sft")]

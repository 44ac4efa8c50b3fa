"""What happened to one example: its losses, the model's answer, and what the metrics say of it."""

from dataclasses import dataclass, field
from typing import Any

from bench.data.example import Example


@dataclass
class Outcome:
    """One evaluated example.

    `loss` is summed over the `tokens` of the completion, in nats; `prediction` is what the model answered, a choice
    or a generated text. `option_log_probs` belong to the choices, or to the row's own options, in their order.
    """

    example: Example
    loss: float
    tokens: int
    prediction: str | None = None
    margin: float | None = None  # log-probability of the right completion minus that of the rejected one
    option_log_probs: list[float] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)  # of this example, by the metric's name

    @property
    def references(self) -> tuple[str, ...]:
        """All answers that count as right, without white space around them."""
        return tuple(text.strip() for text in self.example.references or (self.example.completion,))

    @property
    def correct(self) -> bool | None:
        """Whether the answer is one of the right ones; in a task of pairs, whether the right one is preferred."""
        if self.prediction is None:
            return self.preferred
        return self.prediction == self.example.completion or self.prediction.strip() in self.references

    @property
    def preferred(self) -> bool | None:
        """Whether the right completion is more probable than the rejected one."""
        return None if self.margin is None else self.margin > 0

    def line(self) -> dict[str, Any]:
        """The example's line in examples.jsonl."""
        return {
            "id": self.example.id,
            "correct": None if self.correct is None else int(self.correct),
            "prediction": self.prediction,
            "answer": self.example.completion,
            "loss": self.loss / self.tokens,
            "preferred": None if self.preferred is None else int(self.preferred),
            "metrics": self.metrics,
        }

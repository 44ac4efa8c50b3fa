"""KTO: learn from right and wrong answers, each by itself, with any adapter."""

from dataclasses import dataclass
from typing import ClassVar

from bench.method import register
from methods._preferences import OnAdapter


@register
@dataclass
class Kto(OnAdapter):
    """KTO: learn right answers as gains and wrong ones as losses, each by itself, with any adapter.

    Ethayarajh, Xu, Muennighoff, Jurafsky, Kiela: "KTO: Model Alignment as Prospect Theoretic Optimization", 2024,
    arXiv:2402.01306. A pair gives an example of either kind, so both weights are 1 by default.
    """

    objective: ClassVar[str] = "kto"

    name: str = "kto"
    learning_rate: float = 3e-3
    beta: float = 0.1  # how soon a gain or a loss is felt in full
    desirable_weight: float = 1.0  # of right answers
    undesirable_weight: float = 1.0  # of wrong answers

    def errors(self) -> list[str]:
        """Those of the adapter, and the weights."""
        weights = {key: getattr(self, key) for key in ("desirable_weight", "undesirable_weight")}
        return super().errors() + [
            f"method.{key} must be > 0, got {value:g}" for key, value in weights.items() if value <= 0
        ]

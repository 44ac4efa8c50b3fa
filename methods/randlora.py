"""RandLoRA: train scales of random low-rank matrices whose sum has full rank."""

from dataclasses import dataclass
from typing import Any, ClassVar

from bench.method import register
from methods import _peft
from methods._linear import LinearAdapter


@register
@dataclass
class RandLora(LinearAdapter):
    """RandLoRA: an update of full rank, the sum of random low-rank matrices with trained diagonal scales.

    Albert, Zhang, Saratchandran, Rodriguez-Opazo, van den Hengel, Abbasnejad: "RandLoRA: Full-rank
    parameter-efficient fine-tuning of large models", 2025, arXiv:2502.00987.
    """

    takes_conv1d: ClassVar[bool] = True

    name: str = "randlora"
    learning_rate: float = 5e-3
    rank: int = 32  # of each random matrix: a higher one gives fewer of them, and fewer parameters
    alpha: float = 640.0  # the update is scaled by alpha / rank
    dropout: float = 0.0

    def config(self, model: Any) -> Any:
        """On all linear layers but the head; the random matrices are saved too."""
        from peft import RandLoraConfig

        return RandLoraConfig(
            target_modules="all-linear",
            r=self.rank,
            randlora_alpha=self.alpha,
            randlora_dropout=self.dropout,
            projection_prng_key=_peft.seed(),
            fan_in_fan_out=_peft.has_conv1d(model),
        )

    def errors(self) -> list[str]:
        """Rank, alpha and dropout."""
        found = super().errors() + _peft.at_least_one(rank=self.rank)
        found += _peft.above_zero(alpha=self.alpha)
        found += _peft.shares(dropout=self.dropout)
        return found

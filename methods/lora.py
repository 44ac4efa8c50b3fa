"""LoRA: train a low-rank update beside every linear layer; rsLoRA, which scales it otherwise."""

from dataclasses import dataclass
from typing import Any, ClassVar

from bench.method import register
from methods import _peft
from methods._linear import LinearAdapter


@register
@dataclass
class Lora(LinearAdapter):
    """LoRA: train a low-rank update beside every linear layer, with the base weights frozen.

    Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen: "LoRA: Low-Rank Adaptation of Large Language Models",
    2021, arXiv:2106.09685.
    """

    takes_conv1d: ClassVar[bool] = True

    name: str = "lora"
    learning_rate: float = 1e-2
    rank: int = 8
    alpha: float = 16.0  # the update is scaled by alpha / rank
    dropout: float = 0.0  # of the update's input

    def config(self, model: Any, **changes: Any) -> Any:
        """On all linear layers but the head; `changes` are a variant's other settings of peft's `LoraConfig`."""
        from peft import LoraConfig

        return LoraConfig(
            target_modules="all-linear",
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            fan_in_fan_out=_peft.has_conv1d(model),
            **changes,
        )

    def errors(self) -> list[str]:
        """Rank, alpha and dropout."""
        found = super().errors() + _peft.at_least_one(rank=self.rank)
        found += _peft.above_zero(alpha=self.alpha)
        found += _peft.shares(dropout=self.dropout)
        return found


@register
@dataclass
class RsLora(Lora):
    """rsLoRA: LoRA whose update is scaled by alpha / sqrt(rank), so that high ranks learn as fast as low ones.

    Kalajdzievski: "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA", 2023, arXiv:2312.03732.
    """

    name: str = "rslora"
    learning_rate: float = 5e-3  # the scale is sqrt(rank) times that of LoRA

    def config(self, model: Any, **changes: Any) -> Any:
        """As LoRA's, scaled otherwise."""
        return super().config(model, use_rslora=True, **changes)

"""LoRA: train a low-rank update beside every linear layer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.method import Context, Method, ModelInfo, register
from methods import _peft

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class Lora(Method):
    """LoRA: train a low-rank update beside every linear layer, with the base weights frozen.

    Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen: "LoRA: Low-Rank Adaptation of Large Language Models",
    2021, arXiv:2106.09685.
    """

    name: str = "lora"
    learning_rate: float = 1e-2
    rank: int = 8
    alpha: float = 16.0  # the update is scaled by alpha / rank
    dropout: float = 0.0  # of the update's input

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Add the update to all linear layers but the head."""
        from peft import LoraConfig
        from transformers.pytorch_utils import Conv1D

        config = LoraConfig(
            target_modules="all-linear",
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        )
        return _peft.attach(model, config, context)

    def mergeable(self) -> bool:
        """The update can be added to the weights; to those of a quantised base when they are restored."""
        return True

    def param_groups(self, model: "nn.Module") -> list[dict[str, Any]] | None:
        """The adapter at the method's learning rate, a classifier's new head at its own."""
        return _peft.groups(model)

    def supports(self, model: ModelInfo) -> str | None:
        """Mamba reads some of its linear layers' weights past the layers, so that an update there has no effect."""
        if model.architecture in ("mamba", "falcon_mamba"):
            return f"{model.architecture} uses the weights of its linear layers directly, past any update beside them"
        return None

    def errors(self) -> list[str]:
        """Rank, alpha and dropout."""
        found = super().errors() + _peft.at_least_one(rank=self.rank)
        if self.alpha <= 0:
            found.append(f"method.alpha must be > 0, got {self.alpha:g}")
        if not 0 <= self.dropout < 1:
            found.append(f"method.dropout must be >= 0 and < 1, got {self.dropout:g}")
        return found

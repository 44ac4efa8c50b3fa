"""Full fine-tuning: train every weight."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.method import Context, Method, register

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class Full(Method):
    """Full fine-tuning: train every weight of the model, kept in float32 as master weights.

    Micikevicius et al.: "Mixed Precision Training", 2017, arXiv:1710.03740, on why the master weights are float32.
    """

    name: str = "full"
    learning_rate: float = 3e-3

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Unfreeze all weights, in float32."""
        return model.float().requires_grad_(True)

    def trains_base_weights(self) -> bool:
        """All of them."""
        return True

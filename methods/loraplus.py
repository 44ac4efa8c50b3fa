"""LoRA+: LoRA whose two matrices learn at different rates."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.method import register
from methods import _peft
from methods.lora import Lora

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class LoraPlus(Lora):
    """LoRA+: LoRA whose outer matrix B learns at a higher rate than the inner one, A.

    Hayou, Ghosh, Yu: "LoRA+: Efficient Low Rank Adaptation of Large Models", 2024, arXiv:2402.12354.
    """

    name: str = "lora-plus"
    learning_rate: float = 2e-3  # of A
    ratio: float = 16.0  # of the rate of B to that of A; the paper's advice

    def param_groups(self, model: "nn.Module") -> list[dict[str, Any]] | None:
        """A at the method's learning rate, B at `ratio` times that, a classifier's new head at its own."""
        training = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        outer = [parameter for name, parameter in training if ".lora_B." in name]
        inner = [parameter for name, parameter in training if ".lora_A." in name]
        head = (_peft.groups(model) or [])[1:]
        return [{"params": inner}, {"params": outer, "lr": self.ratio * self.learning_rate}, *head]

    def errors(self) -> list[str]:
        """Those of LoRA, and the ratio."""
        wrong = [] if self.ratio > 0 else [f"method.ratio must be > 0, got {self.ratio:g}"]
        return super().errors() + wrong

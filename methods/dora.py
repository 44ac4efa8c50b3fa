"""DoRA: LoRA for the direction of every weight, and a trained magnitude."""

from dataclasses import dataclass
from typing import Any

from bench.method import ModelInfo, register
from methods.lora import Lora


@register
@dataclass
class Dora(Lora):
    """DoRA: a low-rank update of the direction of every linear layer's weight, and a trained vector of magnitudes.

    Liu, Wang, Yin, Molchanov, Wang, Cheng, Chen: "DoRA: Weight-Decomposed Low-Rank Adaptation", 2024,
    arXiv:2402.09353.
    """

    name: str = "dora"

    def config(self, model: Any, **changes: Any) -> Any:
        """As LoRA's, with magnitudes."""
        return super().config(model, use_dora=True, **changes)

    def supports(self, model: ModelInfo) -> str | None:
        """Needs layers whose weight is a matrix, which experts of a mixture are not."""
        if model.architecture.endswith("_moe") or model.architecture == "mixtral":
            return f"the experts of {model.architecture} are one tensor, on which peft has no {self.name}"
        return super().supports(model)

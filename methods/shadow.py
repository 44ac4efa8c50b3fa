"""ShadowPEFT: train a small model that runs beside the base and corrects it layer by layer."""

from dataclasses import dataclass
from typing import Any

from bench.method import ModelInfo, register
from methods import _peft
from methods._linear import LinearAdapter


@register
@dataclass
class Shadow(LinearAdapter):
    """ShadowPEFT: train a small model that runs beside the base and corrects it layer by layer.

    Li, Li, Lee, Li, Xie, Li: "ShadowPEFT: Shadow Network for Parameter-Efficient Fine-Tuning", 2026,
    arXiv:2604.19254. The loss is the task's alone, without the paper's second one that lets the small model be used
    by itself.
    """

    name: str = "shadow"
    learning_rate: float = 3e-3
    rank: int = 8  # of the corrections
    layers: int = 1  # of the small model
    strength: float = 0.1  # of the corrections

    def config(self, model: Any) -> Any:
        """On all layers; the small model is of the base's architecture and shares its embeddings."""
        from peft import ShadowConfig

        return ShadowConfig(
            r=self.rank,
            shadow_alpha=self.strength,
            shadow_dropout=0.0,
            shadow_num_hidden_layers=self.layers,
            auxiliary_loss_weight=0.0,
        )

    def mergeable(self) -> bool:
        """The corrections depend on the input."""
        return False

    def supports(self, model: ModelInfo) -> str | None:
        """Decoders alone."""
        if model.kind != "causal":
            return f"the small model runs beside a decoder, and this is a {model.kind} model"
        if model.architecture in _peft.RECURRENT:
            return f"peft builds the small model of layers with attention, and this is a {model.architecture}"
        return None

    def errors(self) -> list[str]:
        """Rank, depth and strength."""
        found = super().errors() + _peft.at_least_one(rank=self.rank, layers=self.layers)
        return found if self.strength > 0 else [*found, f"method.strength must be > 0, got {self.strength:g}"]

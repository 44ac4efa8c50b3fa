"""LN tuning: train the norms alone."""

from dataclasses import dataclass
from typing import Any

from bench.method import ModelInfo, register
from methods._linear import LinearAdapter


@register
@dataclass
class LnTuning(LinearAdapter):
    """LN tuning: train the scales, and shifts where there are any, of all layer norms.

    Zhao, Tu, Wei, Mei, Xie: "Tuning LayerNorm in Attention: Towards Efficient Multi-Modal LLM Finetuning", 2023,
    arXiv:2312.11420.
    """

    name: str = "ln-tuning"
    learning_rate: float = 3e-2

    def config(self, model: Any) -> Any:
        """On every module whose class is a norm."""
        from peft import LNTuningConfig

        return LNTuningConfig(target_modules=[name for name, module in model.named_modules() if _is_norm(module)])

    def supports(self, model: ModelInfo) -> str | None:
        """Everything that has norms."""
        return None


def _is_norm(module: Any) -> bool:
    return type(module).__name__.endswith("Norm") and any(True for _ in module.parameters())

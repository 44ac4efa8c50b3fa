"""MiCA: LoRA in the directions that a weight uses least."""

from dataclasses import dataclass
from typing import Any

from bench.method import register
from methods.lora import Lora


@register
@dataclass
class Mica(Lora):
    """MiCA: LoRA whose outer matrix stays at the least singular vectors of every weight, and whose inner one trains.

    Rüdiger, Raschka: "MiCA Learns More Knowledge Than LoRA and Full Fine-Tuning", 2026, arXiv:2604.01694.
    """

    name: str = "mica"
    learning_rate: float = 2e-2

    def config(self, model: Any, **changes: Any) -> Any:
        """As LoRA's, with the start by a singular value decomposition."""
        return super().config(model, init_lora_weights="mica", **changes)

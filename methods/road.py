"""RoAd: train rotations of pairs of outputs of every layer."""

import math
from dataclasses import dataclass
from typing import Any

from bench.method import register
from methods import _peft
from methods._linear import LinearAdapter, sizes

VARIANTS = ("road_1", "road_2", "road_4")


@register
@dataclass
class Road(LinearAdapter):
    """RoAd: train rotations and scales of pairs of outputs of every linear layer.

    Liao, Monz: "3-in-1: 2D Rotary Adaptation for Efficient Finetuning, Efficient Batching and Composability", 2024,
    arXiv:2409.00119.
    """

    name: str = "road"
    learning_rate: float = 3e-2
    variant: str = "road_1"  # the angle and scale of a pair | road_2: of every output | road_4: two of every output

    def config(self, model: Any) -> Any:
        """On all linear layers, in groups of 64 outputs where that divides them all."""
        from peft import RoadConfig

        group = math.gcd(64, *sizes(model))  # which outputs make a pair; means nothing to what can be learned
        return RoadConfig(target_modules="all-linear", variant=self.variant, group_size=group)

    def errors(self) -> list[str]:
        """The variant."""
        return super().errors() + _peft.one_of("variant", self.variant, VARIANTS)

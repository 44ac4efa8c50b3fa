"""MiSS: train one small matrix of every layer, which all shards of its weight share."""

from dataclasses import dataclass
from typing import Any

from bench.method import register
from methods import _peft
from methods._linear import LinearAdapter


@register
@dataclass
class Miss(LinearAdapter):
    """MiSS: train one small matrix of every layer, which all shards of its weight share as their update.

    Kang, Yin: "MiSS: Revisiting the Trade-off in LoRA with an Efficient Shard-Sharing Structure", 2024,
    arXiv:2409.15371, whose first versions called it Bone.
    """

    name: str = "miss"
    learning_rate: float = 1e-2
    rank: int = 16  # number of shards' inputs: the matrix has rank * outputs entries

    def config(self, model: Any) -> Any:
        """On all linear layers."""
        from peft import MissConfig

        return MissConfig(target_modules="all-linear", r=self.rank)

    def errors(self) -> list[str]:
        """The rank."""
        return super().errors() + _peft.at_least_one(rank=self.rank)

"""PEANuT: train a small network that makes every weight's update from the weight itself."""

from dataclasses import dataclass
from typing import Any

from bench.method import register
from methods import _peft
from methods._linear import LinearAdapter


@register
@dataclass
class Peanut(LinearAdapter):
    """PEANuT: train a small network that makes every weight's update from the weight itself.

    Zhong, Jiang, Xu, Wang, Liu, Zhang, et al.: "PEANuT: Parameter-Efficient Adaptation with Weight-aware Neural
    Tweakers", 2024, arXiv:2410.01870.
    """

    name: str = "peanut"
    learning_rate: float = 1e-2
    rank: int = 8  # width of the network
    depth: int = 0  # pairs of layers between the first and the last

    def config(self, model: Any) -> Any:
        """On all linear layers."""
        from peft import PeanutConfig

        return PeanutConfig(target_modules="all-linear", r=self.rank, depth=self.depth)

    def errors(self) -> list[str]:
        """Width and depth."""
        found = super().errors() + _peft.at_least_one(rank=self.rank)
        return found if self.depth >= 0 else [*found, f"method.depth must be >= 0, got {self.depth}"]

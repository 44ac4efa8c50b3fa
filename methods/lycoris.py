"""LoHa and LoKr: updates of full rank from Hadamard and Kronecker products of small matrices."""

from dataclasses import dataclass
from typing import Any

from bench.method import register
from methods import _peft
from methods._linear import LinearAdapter


@dataclass
class _Product(LinearAdapter):
    learning_rate: float = 1e-2
    rank: int = 8
    alpha: float = 8.0  # the update is scaled by alpha / rank

    def errors(self) -> list[str]:
        """Rank and alpha."""
        found = super().errors() + _peft.at_least_one(rank=self.rank)
        return found if self.alpha > 0 else [*found, f"method.alpha must be > 0, got {self.alpha:g}"]


@register
@dataclass
class LoHa(_Product):
    """LoHa: train an update that is the Hadamard product of two low-rank ones.

    Hyeon-Woo, Ye-Bin, Oh: "FedPara: Low-Rank Hadamard Product for Communication-Efficient Federated Learning", 2021,
    arXiv:2108.06098. The product of two updates of rank r may have the rank r * r.
    """

    name: str = "loha"

    def config(self, model: Any) -> Any:
        """On all linear layers."""
        from peft import LoHaConfig

        return LoHaConfig(target_modules="all-linear", r=self.rank, alpha=self.alpha)


@register
@dataclass
class LoKr(_Product):
    """LoKr: train an update that is the Kronecker product of a small matrix and a low-rank one.

    Yeh, Hsieh, Gao, Yang, Oh, Gong: "Navigating Text-To-Image Customization: From LyCORIS Fine-Tuning to Model
    Evaluation", 2023, arXiv:2309.14859.
    """

    name: str = "lokr"

    def config(self, model: Any) -> Any:
        """On all linear layers, each split into factors of about its square root."""
        from peft import LoKrConfig

        return LoKrConfig(target_modules="all-linear", r=self.rank, alpha=self.alpha)

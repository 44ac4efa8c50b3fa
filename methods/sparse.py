"""SHiRA and Super-Tuning: train single entries of the weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.method import Context, register
from methods import _peft
from methods._linear import LinearAdapter

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class Shira(LinearAdapter):
    """SHiRA: train entries of every weight at random places, as many as a LoRA of the same rank has.

    Bhardwaj, Pandey, Priyadarshi, Ganapathy, Kadambi, Esteves, Borse, Whatmough, Garrepalli, van Baalen, Teague,
    Nagel: "Sparse High Rank Adapters", 2024, arXiv:2406.13175.
    """

    name: str = "shira"
    learning_rate: float = 1e-2
    rank: int = 8  # rank * (inputs + outputs) entries of a layer

    def config(self, model: Any) -> Any:
        """On all linear layers."""
        from peft import ShiraConfig

        return ShiraConfig(target_modules="all-linear", r=self.rank, random_seed=_peft.seed())

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """On all linear layers. A trace has as many places in every layer as were drawn, wherever they are."""
        import torch

        config = self.config(model)
        if context.contents:
            return _peft.attach(model, config, context)
        config.mask_fn = None
        adapted = _peft.attach(model, config, context)
        for layer in adapted.modules():
            if hasattr(layer, "shira_indices"):
                count = len(layer.shira_weight["default"])
                layer.shira_indices["default"] = torch.zeros(2, count, dtype=torch.int, device=layer.weight.device)
        return adapted

    def errors(self) -> list[str]:
        """The rank."""
        return super().errors() + _peft.at_least_one(rank=self.rank)


@register
@dataclass
class SuperTuning(LinearAdapter):
    """Super-Tuning: train the largest entries of every weight.

    Ilin, Zmushko, Richtárik: "Super-Tuning: From Activation-Aware Pruning to Sparse Fine-Tuning", 2026,
    arXiv:2607.09287. `rank` adds a low-rank update, the paper's Supra.
    """

    name: str = "super-tuning"
    learning_rate: float = 5e-2
    sparsity: float = 0.99  # share of the entries that do not train
    largest: bool = True  # else the smallest entries train
    rank: int = 0  # of a LoRA beside the entries; 0: none

    def config(self, model: Any) -> Any:
        """On all linear layers."""
        from peft import SupertuningConfig

        return SupertuningConfig(
            target_modules="all-linear", sparsity=self.sparsity, select_top=self.largest, r=self.rank or None
        )

    def errors(self) -> list[str]:
        """Share of the entries and rank."""
        found = super().errors()
        found += _peft.shares(sparsity=self.sparsity)
        return found if self.rank >= 0 else [*found, f"method.rank must be >= 0, got {self.rank}"]

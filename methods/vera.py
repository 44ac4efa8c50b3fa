"""VeRA and PVeRA: train vectors around random matrices that all layers share."""

from dataclasses import dataclass
from typing import Any, ClassVar

from bench.method import register
from methods import _peft
from methods._linear import LinearAdapter


@register
@dataclass
class Vera(LinearAdapter):
    """VeRA: train two vectors beside every linear layer, around random matrices that all layers share.

    Kopiczko, Blankevoort, Asano: "VeRA: Vector-based Random Matrix Adaptation", 2023, arXiv:2310.11454.
    """

    takes_conv1d: ClassVar[bool] = True

    name: str = "vera"
    learning_rate: float = 1e-1
    rank: int = 64
    dropout: float = 0.0

    def config(self, model: Any) -> Any:
        """On all linear layers but the head; the random matrices are saved too."""
        from peft import VeraConfig

        return VeraConfig(
            target_modules="all-linear",
            r=self.rank,
            vera_dropout=self.dropout,
            projection_prng_key=_peft.seed(),
            fan_in_fan_out=_peft.has_conv1d(model),
        )

    def errors(self) -> list[str]:
        """Rank and dropout."""
        found = super().errors() + _peft.at_least_one(rank=self.rank)
        found += _peft.shares(dropout=self.dropout)
        return found


@register
@dataclass
class Pvera(Vera):
    """PVeRA: VeRA whose inner activations are drawn from a distribution that is learned; their mean is used afterwards.

    Fillioux, Ferrante, Cournède, Vakalopoulou, Christodoulidis: "PVeRA: Probabilistic Vector-Based Random Matrix
    Adaptation", 2025, arXiv:2512.07703. peft leaves out the paper's divergence from a standard normal distribution.
    """

    name: str = "pvera"
    rank: int = 256

    def config(self, model: Any) -> Any:
        """As VeRA's."""
        from peft import PveraConfig

        return PveraConfig(
            target_modules="all-linear",
            r=self.rank,
            pvera_dropout=self.dropout,
            projection_prng_key=_peft.seed(),
            fan_in_fan_out=_peft.has_conv1d(model),
        )

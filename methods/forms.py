"""DeLoRA, GLoRA, GraLoRA, HiRA and Lily: low-rank updates of another form than LoRA's."""

from dataclasses import dataclass
from typing import Any, ClassVar

from bench.method import register
from methods import _peft
from methods._linear import LinearAdapter


@register
@dataclass
class DeLora(LinearAdapter):
    """DeLoRA: LoRA of normalised directions, with a trained strength that bounds how far a weight can move.

    Bini, Girrbach, Akata: "Decoupling Angles and Strength in Low-rank Adaptation", 2025, arXiv:2503.18225.
    """

    name: str = "delora"
    learning_rate: float = 3e-3
    rank: int = 8
    strength: float = 15.0  # at the start

    def config(self, model: Any) -> Any:
        """On all linear layers but the head."""
        from peft import DeloraConfig

        return DeloraConfig(target_modules="all-linear", r=self.rank, delora_lambda=self.strength)

    def errors(self) -> list[str]:
        """Rank and strength."""
        wrong = [] if self.strength > 0 else [f"method.strength must be > 0, got {self.strength:g}"]
        return super().errors() + _peft.at_least_one(rank=self.rank) + wrong


@register
@dataclass
class GLora(LinearAdapter):
    """GLoRA: low-rank updates that are added to every weight, that scale it, and that shift the layer's output.

    Chavan, Liu, Gupta, Xing, Shen: "One-for-All: Generalized LoRA for Parameter-Efficient Fine-tuning", 2023,
    arXiv:2306.07967, without the paper's search for the form of each part.
    """

    name: str = "glora"
    learning_rate: float = 1e-2
    rank: int = 4

    def config(self, model: Any) -> Any:
        """On all linear layers but the head."""
        from peft import GloraConfig

        return GloraConfig(target_modules="all-linear", r=self.rank)

    def errors(self) -> list[str]:
        """The rank."""
        return super().errors() + _peft.at_least_one(rank=self.rank)


@register
@dataclass
class GraLora(LinearAdapter):
    """GraLoRA: every weight is divided into blocks, each with a low-rank update of its own.

    Jung, Ahn, Kim, Kim, Park: "GraLoRA: Granular Low-Rank Adaptation for Parameter-Efficient Fine-Tuning", 2025,
    arXiv:2505.20355.
    """

    takes_conv1d: ClassVar[bool] = True

    name: str = "gralora"
    learning_rate: float = 1e-2
    rank: int = 8  # there are as many parameters as with LoRA of this rank
    alpha: float = 16.0  # the update is scaled by alpha / rank
    blocks: int = 2  # along each side of a weight; a divisor of the rank and of all widths
    dropout: float = 0.0

    def config(self, model: Any) -> Any:
        """On all linear layers but the head."""
        from peft import GraloraConfig

        return GraloraConfig(
            target_modules="all-linear",
            r=self.rank,
            alpha=self.alpha,
            gralora_k=self.blocks,
            gralora_dropout=self.dropout,
            fan_in_fan_out=_peft.has_conv1d(model),
        )

    def errors(self) -> list[str]:
        """Rank, alpha, blocks and dropout."""
        found = super().errors() + _peft.at_least_one(rank=self.rank, blocks=self.blocks)
        if self.blocks > 0 and self.rank % self.blocks:
            found.append(f"method.blocks must divide method.rank={self.rank}, got {self.blocks}")
        found += _peft.above_zero(alpha=self.alpha)
        found += _peft.shares(dropout=self.dropout)
        return found


@register
@dataclass
class Hira(LinearAdapter):
    """HiRA: every weight is multiplied, element by element, with a low-rank matrix, so that the update has full rank.

    Huang, Ko, Zhuang, Tang, Zhang: "HiRA: Parameter-Efficient Hadamard High-Rank Adaptation for Large Language
    Models", ICLR 2025, openreview.net/forum?id=TwJrTz9cRS.
    """

    takes_conv1d: ClassVar[bool] = True

    name: str = "hira"
    learning_rate: float = 5e-2
    rank: int = 8
    dropout: float = 0.0

    def config(self, model: Any) -> Any:
        """On all linear layers but the head."""
        from peft import HiraConfig

        return HiraConfig(
            target_modules="all-linear",
            r=self.rank,
            hira_dropout=self.dropout,
            fan_in_fan_out=_peft.has_conv1d(model),
        )

    def errors(self) -> list[str]:
        """Rank and dropout."""
        found = super().errors() + _peft.at_least_one(rank=self.rank)
        found += _peft.shares(dropout=self.dropout)
        return found


@register
@dataclass
class Lily(LinearAdapter):
    """Lily: low-rank updates whose inner matrices are shared by neighbouring layers, and whose outer ones are mixed.

    Zhong, Zhao, Zhou: "Low-Rank Interconnected Adaptation across Layers", 2024, arXiv:2407.09946. A router chooses the
    mixture of the outer matrices for every input, so that the update is no matrix that a weight could take up.
    """

    name: str = "lily"
    learning_rate: float = 5e-3
    rank: int = 16
    scale: float = 1.0
    neighbours: int = 2  # layers that share an inner matrix
    experts: int = 2  # outer matrices, which all layers share

    def config(self, model: Any) -> Any:
        """On all linear layers but the head."""
        from peft import LilyConfig

        return LilyConfig(
            target_modules="all-linear",
            r=self.rank,
            scaling=self.scale,
            stride_A=self.neighbours,
            num_B=self.experts,
        )

    def mergeable(self) -> bool:
        """The update depends on the input."""
        return False

    def errors(self) -> list[str]:
        """Rank, scale and what is shared."""
        found = super().errors() + _peft.at_least_one(rank=self.rank, neighbours=self.neighbours)
        if self.experts < 2:
            found.append(f"method.experts must be >= 2, got {self.experts}")
        found += _peft.above_zero(scale=self.scale)
        return found

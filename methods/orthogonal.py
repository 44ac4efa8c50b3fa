"""OFT, BOFT, HRA and PSOFT: turn the weights instead of adding to them, which keeps the angles between neurons."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.method import Context, ModelInfo, register
from methods import _peft
from methods._linear import LinearAdapter

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class Oft(LinearAdapter):
    """OFT: train an orthogonal matrix, of blocks on the diagonal, that turns the inputs of every linear layer.

    Qiu, Liu, Feng, Xue, Feng, Liu, Zhang, Weller, Schölkopf: "Controlling Text-to-Image Diffusion by Orthogonal
    Finetuning", 2023, arXiv:2306.07280. The blocks are orthogonal by Cayley's transform, whose inverse is a Neumann
    series of five terms.
    """

    name: str = "oft"
    learning_rate: float = 1e-3
    block_size: int = 32  # where it does not divide a layer's inputs, the nearest size that does

    def config(self, model: Any) -> Any:
        """On all linear layers."""
        from peft import OFTConfig

        return OFTConfig(target_modules="all-linear", oft_block_size=self.block_size)

    def errors(self) -> list[str]:
        """The size of the blocks."""
        return super().errors() + _peft.at_least_one(block_size=self.block_size)


@register
@dataclass
class Boft(LinearAdapter):
    """BOFT: train orthogonal matrices of every linear layer as a product of sparse ones, like a Fourier transform's.

    Liu, Qiu, Feng, Xiu, Xue, Yu, Feng, Liu, Heo, Peng, Wen, Black, Weller, Schölkopf: "Parameter-Efficient Orthogonal
    Finetuning via Butterfly Factorization", 2023, arXiv:2311.06243. More than one factor need a CUDA extension, which
    peft compiles when it is first used.
    """

    name: str = "boft"
    learning_rate: float = 1e-2
    block_size: int = 4  # must divide the inputs of all layers
    factors: int = 1  # of the butterfly; 1 is OFT with Cayley's transform computed exactly, and more need CUDA

    def config(self, model: Any) -> Any:
        """On all linear layers."""
        from peft import BOFTConfig

        return BOFTConfig(
            target_modules="all-linear", boft_block_size=self.block_size, boft_n_butterfly_factor=self.factors
        )

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """On all linear layers; peft's silent return to one factor is an error."""
        adapted: Any = super().adapt(model, context)
        made = {len(layer.boft_R["default"]) for layer in adapted.modules() if hasattr(layer, "boft_R")}
        if made != {self.factors}:
            wanted = f"method.factors={self.factors}"
            raise ValueError(f"{wanted} needs a CUDA extension that peft could not compile here; use method.factors=1")
        return adapted

    def supports(self, model: ModelInfo) -> str | None:
        """More factors than one need a GPU."""
        if self.factors > 1 and model.device != "cuda":
            return f"method.factors={self.factors} needs peft's CUDA extension; use method.factors=1"
        return super().supports(model)

    def errors(self) -> list[str]:
        """Size and number of the factors."""
        return super().errors() + _peft.at_least_one(block_size=self.block_size, factors=self.factors)


@register
@dataclass
class Hra(LinearAdapter):
    """HRA: train a chain of Householder reflections of the inputs of every linear layer.

    Yuan, Liu, Xu: "Bridging The Gap between Low-rank and Orthogonal Adaptation via Householder Reflection
    Adaptation", 2024, arXiv:2405.17484.
    """

    name: str = "hra"
    learning_rate: float = 1e-2
    rank: int = 8  # reflections; in pairs that undo each other at the start

    def config(self, model: Any) -> Any:
        """On all linear layers."""
        from peft import HRAConfig

        return HRAConfig(target_modules="all-linear", r=self.rank)

    def errors(self) -> list[str]:
        """The number of reflections."""
        found = super().errors()
        if self.rank < 2 or self.rank % 2:
            found.append(f"method.rank must be even and >= 2, got {self.rank}")
        return found


@register
@dataclass
class Psoft(LinearAdapter):
    """PSOFT: train a small orthogonal matrix that turns the principal subspace of every weight, and two scales.

    Wu, Hu, Min, Wang: "Efficient Orthogonal Fine-Tuning with Principal Subspace Adaptation", 2025, arXiv:2505.11235.
    """

    name: str = "psoft"
    learning_rate: float = 1e-3
    rank: int = 32  # of the principal subspace

    def config(self, model: Any) -> Any:
        """On all linear layers."""
        from peft import PsoftConfig

        # alpha / rank scales the part that is turned: any other value than 1 would no longer turn it
        return PsoftConfig(target_modules="all-linear", r=self.rank, psoft_alpha=self.rank)

    def errors(self) -> list[str]:
        """The rank."""
        return super().errors() + _peft.at_least_one(rank=self.rank)

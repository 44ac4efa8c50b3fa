"""FourierFT, WaveFT and C3A: an update of full rank from few coefficients of a transform."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.method import Context, register
from methods import _peft
from methods._linear import LinearAdapter, sizes

if TYPE_CHECKING:
    from torch import nn


@dataclass
class _Spectrum(LinearAdapter):
    coefficients: int = 1000  # of every layer, at random places
    scaling: float = 1.0  # of the update

    def errors(self) -> list[str]:
        """Number of coefficients and scale of the update."""
        found = super().errors() + _peft.at_least_one(coefficients=self.coefficients)
        return found if self.scaling > 0 else [*found, f"method.scaling must be > 0, got {self.scaling:g}"]


@register
@dataclass
class FourierFt(_Spectrum):
    """FourierFT: train some entries of the Fourier transform of every weight's update.

    Gao, Wang, Chen, Liu, Wu, Chen, Li: "Parameter-Efficient Fine-Tuning with Discrete Fourier Transform", 2024,
    arXiv:2405.03003. The entries start at zero, not from the paper's normal distribution, which changes the outputs
    of a small model before it has learned anything.
    """

    name: str = "fourierft"
    learning_rate: float = 1e-1
    scaling: float = 150.0
    takes_conv1d: ClassVar[bool] = True

    def config(self, model: Any) -> Any:
        """On all linear layers, at places that the run's seed decides."""
        from peft import FourierFTConfig

        return FourierFTConfig(
            target_modules="all-linear",
            n_frequency=self.coefficients,
            scaling=self.scaling,
            random_loc_seed=_peft.seed(),
            init_weights=True,
            fan_in_fan_out=_peft.has_conv1d(model),
        )


@register
@dataclass
class WaveFt(_Spectrum):
    """WaveFT: train some entries of the wavelet transform of every weight's update.

    Bilican, Yılmaz, Tekalp, Cinbiş: "Exploring Sparsity for Parameter Efficient Fine Tuning Using Wavelets", 2025,
    arXiv:2505.12532.
    """

    name: str = "waveft"
    learning_rate: float = 1e-3
    scaling: float = 25.0
    takes_conv1d: ClassVar[bool] = True

    def config(self, model: Any) -> Any:
        """On all linear layers, at places that the run's seed decides."""
        from peft import WaveFTConfig

        return WaveFTConfig(
            target_modules="all-linear",
            n_frequency=self.coefficients,
            scaling=self.scaling,
            random_loc_seed=_peft.seed(),
            fan_in_fan_out=_peft.has_conv1d(model),
        )

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """On all linear layers. A trace has the places that peft looks at as zeros, not as numbers that it cannot know."""
        import torch

        adapted = super().adapt(model, context)
        for layer in adapted.modules() if not context.contents else ():
            if hasattr(layer, "waveft_indices"):
                layer.waveft_indices["default"] = torch.zeros(2, self.coefficients, dtype=torch.int64)
        return adapted


@register
@dataclass
class C3a(LinearAdapter):
    """C3A: train an update of every weight that is made of circulant blocks, computed by Fourier transforms.

    Chen, Gao, Liu, Li, Li: "Parameter-Efficient Fine-Tuning via Circular Convolution", 2024, arXiv:2407.19342.
    """

    name: str = "c3a"
    learning_rate: float = 1e-1
    block_size: int = 0  # must divide inputs and outputs of all layers; 0: the largest that does

    def config(self, model: Any) -> Any:
        """On all linear layers; the update starts at zero."""
        from peft import C3AConfig

        size = self.block_size or math.gcd(*sizes(model))
        return C3AConfig(target_modules="all-linear", block_size=size, init_weights=True)

    def errors(self) -> list[str]:
        """The size of the blocks."""
        found = super().errors()
        return found if self.block_size >= 0 else [*found, f"method.block_size must be >= 0, got {self.block_size}"]

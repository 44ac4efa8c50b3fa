"""Gain: train a factor for every output of every linear layer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.method import Context, Method, register

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class Gain(Method):
    """Gain: train a factor for every output of every linear layer.

    Liu, Tam, Muqeeth, Mohta, Huang, Bansal, Raffel: "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper
    than In-Context Learning", 2022, arXiv:2205.05638, has such factors in three places of every layer.
    """

    name: str = "gain"
    learning_rate: float = 3e-2

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Multiply what every linear layer but the head gives; the factors start at one."""
        import torch
        from torch import nn
        from transformers.pytorch_utils import Conv1D

        def multiply(layer: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
            return out * layer.gain.to(out.dtype)

        for layer in list(model.base_model.modules()):
            if isinstance(layer, nn.Linear | Conv1D):
                width = layer.nf if isinstance(layer, Conv1D) else layer.out_features
                layer.gain = nn.Parameter(torch.ones(width, device=layer.weight.device))
                layer.register_forward_hook(multiply)
        return model

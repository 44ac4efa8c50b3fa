"""Training some of the layers: the last ones all the time, or others by turns (LISA)."""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.method import Context, Method, register
from methods import _peft
from methods._blocks import blocks

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

TAKEN = "steps_taken"  # kept in the optimizer's first group, and with it in its checkpoints


@dataclass
class _SomeLayers(Method):
    layers: int = 2

    def trains_base_weights(self) -> bool:
        """Those of the layers."""
        return True

    def errors(self) -> list[str]:
        """How many layers."""
        return super().errors() + _peft.at_least_one(layers=self.layers)


@register
@dataclass
class LastLayers(_SomeLayers):
    """Last layers: train the last layers of the model and keep all else as it is.

    Lee, Tang, Lin: "What Would Elsa Do? Freezing Layers During Transformer Fine-Tuning", 2019, arXiv:1911.03090.
    """

    name: str = "last-layers"
    learning_rate: float = 3e-3

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Unfreeze them, in float32."""
        model.float()
        for layer in blocks(model)[-self.layers :]:
            layer.requires_grad_(True)
        return model


@register
@dataclass
class Lisa(_SomeLayers):
    """LISA: train embeddings, head and a few layers, which are drawn anew every few steps.

    Pan, Liu, Diao, Pi, Zhang, Han, Zhang: "LISA: Layerwise Importance Sampling for Memory-Efficient Large Language
    Model Fine-Tuning", 2024, arXiv:2403.17919. All layers are as likely, as in the paper's experiments. The
    optimizer's state of a layer is dropped when its turn ends, as each of the paper's periods has an AdamW of its own;
    that of the embeddings and the head stays.
    """

    name: str = "lisa"
    learning_rate: float = 3e-3
    interval: int = 20  # steps between draws

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Unfreeze all weights, in float32: every one may change."""
        return model.float().requires_grad_(True)

    def optimizer(
        self, model: "nn.Module", groups: list[dict[str, Any]], defaults: dict[str, Any]
    ) -> "Optimizer | None":
        """AdamW over all weights; in a forward pass for training the layers whose turn it is not are frozen."""
        import torch

        optimizer = torch.optim.AdamW(groups, **defaults, fused=True)
        optimizer.param_groups[0][TAKEN] = 0
        layers, seed = blocks(model), torch.initial_seed()

        def choose(module: "nn.Module", _: Any) -> None:
            if module.training:
                turn = optimizer.param_groups[0][TAKEN] // self.interval
                chosen = random.Random(seed + turn).sample(range(len(layers)), min(self.layers, len(layers)))
                for place, layer in enumerate(layers):
                    layer.requires_grad_(place in chosen)

        def forget(*_: Any) -> None:
            for parameter in [each for each in optimizer.state if each.grad is None]:
                del optimizer.state[parameter]

        def count(*_: Any) -> None:
            optimizer.param_groups[0][TAKEN] += 1

        model.register_forward_pre_hook(choose)
        optimizer.register_step_pre_hook(forget)
        optimizer.register_step_post_hook(count)
        return optimizer

    def after_step(self, model: "nn.Module", step: int, progress: float) -> None:
        """Outside of a step all weights count as trained, so that a checkpoint holds them all."""
        model.requires_grad_(True)

    def errors(self) -> list[str]:
        """The interval."""
        return super().errors() + _peft.at_least_one(interval=self.interval)

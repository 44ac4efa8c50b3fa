"""LoRA-FA: LoRA whose inner matrix stays as it is drawn."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.method import Context, register
from methods import _peft
from methods.lora import Lora

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


@register
@dataclass
class LoraFA(Lora):
    """LoRA-FA: LoRA that trains the outer matrix B alone, with gradients corrected for the frozen inner one, A.

    Zhang, Zhang, Shi, Chu, Li: "LoRA-FA: Memory-efficient Low-rank Adaptation for Large Language Models Fine-tuning",
    2023, arXiv:2308.03303. The inputs of the layers need not be kept for the backward pass. The optimizer is peft's:
    AdamW on the gradient of B times the inverse of A A^T / scale^2.
    """

    name: str = "lora-fa"

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """As LoRA does, with A frozen."""
        from peft.tuners.lora.layer import LoraLayer

        adapted = super().adapt(model, context)
        for layer in (module for module in adapted.modules() if isinstance(module, LoraLayer)):
            layer.lora_A.requires_grad_(False)
            layer.frozen_peft_weight_names = {"default": ("lora_A",)}  # also after the adapter was switched off and on
        return adapted

    def optimizer(
        self, model: "nn.Module", groups: list[dict[str, Any]], defaults: dict[str, Any]
    ) -> "Optimizer | None":
        """peft's, which takes pairs of A and B, and everything else as AdamW would."""
        from peft.optimizers.lorafa import LoraFAOptimizer

        found = []
        for group, kept in zip((".lora_", ".modules_to_save."), ({}, {"lr": _peft.HEAD_LEARNING_RATE}), strict=True):
            named = [(n, p) for n, p in model.named_parameters() if group in n and (p.requires_grad or ".lora_A." in n)]
            if named:
                layers = [model.get_submodule(n.rpartition(".lora_")[0]) if ".lora_" in n else None for n, _ in named]
                found.append(
                    {
                        "params": [parameter for _, parameter in named],
                        "names": [name for name, _ in named],
                        "scaling_factors": [layer and layer.scaling["default"] for layer in layers],
                        **kept,
                    }
                )
        return LoraFAOptimizer(found, **defaults)

"""Starts of LoRA that take a part of every base weight into the update, on a base that stays as it is.

PiSSA and its kin start from an update s B0 A0 that is not zero, and train it on what is left of the base, W - s B0 A0.
Here the base keeps W, and every layer subtracts s B0 A0, which is held beside the update and does not train: the same
sum, exact at the start whatever the dtype of W, and the base is there for whatever else needs it. It costs one product
of the update's size more in every pass. What is saved is the equal plain LoRA of twice the rank, [B, -B0] [A; A0],
which every program that reads LoRA can put on the untouched base.
"""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "default"  # of the adapter


@cache
def _wide() -> Any:
    from peft import LoraConfig

    class Wide(LoraConfig):
        """The configuration of an adapter that is saved with twice its rank, and with the same scale."""

        def to_dict(self) -> Any:
            """What is written beside the adapter."""
            found = super().to_dict()
            return found | {"r": 2 * found["r"], "lora_alpha": 2 * found["lora_alpha"]}

    return Wide


def wide(config: Any) -> Any:
    """The same settings of LoRA, to be saved with twice the rank."""
    return _wide()(**{field.name: getattr(config, field.name) for field in fields(config) if field.init})


@cache
def _offset() -> Any:
    from peft.tuners.lora.layer import LoraVariant
    from peft.utils.other import transpose
    from torch.nn.functional import linear

    def change(module: Any, adapter: str) -> "Tensor":
        start = transpose(module.start_B @ module.start_A, module.fan_in_fan_out) * module.scaling[adapter]
        return module.get_delta_weight(adapter) - start

    class Offset(LoraVariant):
        """A LoRA layer that subtracts what its update was at the start."""

        @staticmethod
        def forward(module: Any, active_adapter: str, x: "Tensor", result: "Tensor", **_: Any) -> "Tensor":
            inner = module.lora_A[active_adapter](module.lora_dropout[active_adapter](x))
            start = linear(linear(x, module.start_A), module.start_B)
            return result + (module.lora_B[active_adapter](inner) - start) * module.scaling[active_adapter]

        @staticmethod
        def merge_safe(module: Any, active_adapter: str, orig_weight: "Tensor") -> "Tensor":
            return orig_weight + change(module, active_adapter).to(orig_weight.dtype)

        @staticmethod
        def merge_unsafe(module: Any, active_adapter: str, orig_weight: "Tensor") -> None:
            orig_weight.data += change(module, active_adapter).to(orig_weight.dtype)

        @staticmethod
        def unmerge(module: Any, active_adapter: str, orig_weight: "Tensor") -> "Tensor":
            return orig_weight - change(module, active_adapter).to(orig_weight.dtype)

    return Offset


def start_from(adapted: "nn.Module", start: Callable[[Any], None]) -> None:
    """Give the update of every layer a start that is not zero, and let the layer subtract it.

    Args:
        adapted: with LoRA of a `wide` configuration.
        start: one of peft's starts for a `LoraLayer`, which fills in the update and takes it out of the base's weight.
    """
    from peft.tuners.lora.layer import LoraLayer

    layers: list[Any] = [module for module in adapted.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        weight = layer.get_base_layer().weight
        whole = weight.data
        weight.data = whole.clone()
        start(layer)
        weight.data = whole
        for matrices, name in ((layer.lora_A, "start_A"), (layer.lora_B, "start_B")):
            trained = matrices[NAME].weight
            trained.data = trained.data.float().contiguous()
            layer.register_buffer(name, trained.detach().clone(), persistent=False)
        layer.lora_variant[NAME] = _offset()()
        layer.register_state_dict_post_hook(_widen)


def _widen(layer: Any, state: "dict[str, Tensor]", prefix: str, _: Any) -> None:
    import torch

    inner, outer = (f"{prefix}lora_{matrix}.{NAME}.weight" for matrix in "AB")
    state[inner] = torch.cat([state[inner], layer.start_A])
    state[outer] = torch.cat([state[outer], -layer.start_B], dim=1)

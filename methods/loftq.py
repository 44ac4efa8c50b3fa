"""LoftQ: LoRA that starts from what 4 bits have lost."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.method import Context, ModelInfo, register
from methods._linear import CONV1D
from methods.qlora import Qlora4

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class Loftq(Qlora4):
    """LoftQ: QLoRA whose update starts from the best low-rank approximation of what the quantisation has lost.

    Li, Yu, Liang, He, Karampatziakis, Chen, Zhao: "LoftQ: LoRA-Fine-Tuning-Aware Quantization for Large Language
    Models", 2023, arXiv:2310.08659, in one step, which leaves the quantised base as it is. The weights as they were
    are read from the model's safetensors files once more, layer by layer.
    """

    name: str = "loftq"

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Add the update, and fill it.

        Raises:
            ValueError: the weights as they were are not on this machine, as with `model.weights=random`.
        """
        from peft.utils.loftq_utils import _SafetensorLoader
        from safetensors import SafetensorError

        adapted: Any = super().adapt(model, context)
        place = str(model.name_or_path)
        if context.contents:
            try:
                self._fill(adapted, _SafetensorLoader(adapted, place if Path(place).is_dir() else None))
            except (FileNotFoundError, ValueError, SafetensorError) as error:
                why = f"method=loftq reads the weights as they were before the quantisation: {error}"
                raise ValueError(f"model.path: {why}") from error
        return adapted

    @staticmethod
    def _fill(adapted: Any, file: Any) -> None:
        """As peft's `replace_lora_weights_loftq`, which needs a GPU and forgets that the update is scaled."""
        import torch
        from peft.tuners.lora.layer import LoraLayer
        from peft.utils.integrations import dequantize_module_weight

        for name, layer in adapted.named_modules():
            if not isinstance(layer, LoraLayer):
                continue
            kept = dequantize_module_weight(layer.get_base_layer())
            whole = file.get_tensor(f"{name.removeprefix('base_model.model.')}.weight")
            outer, sizes, inner = torch.linalg.svd(whole.to(kept.device).float() - kept.float(), full_matrices=False)
            rank = layer.r["default"]
            root = (sizes[:rank] / layer.scaling["default"]).sqrt()
            layer.lora_A["default"].weight.data.copy_(root[:, None] * inner[:rank])
            layer.lora_B["default"].weight.data.copy_(outer[:, :rank] * root)

    def supports(self, model: ModelInfo) -> str | None:
        """Needs weights that are stored as they are used."""
        if model.architecture in CONV1D:
            return f"the weights of {model.architecture} lie transposed in their file, as peft's LoftQ does not expect"
        return super().supports(model)

"""P-tuning: train a small network that makes the embeddings of virtual tokens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.method import Context, Method, register
from methods import _peft

if TYPE_CHECKING:
    from torch import Tensor, nn


@register
@dataclass
class PTuning(Method):
    """P-tuning: train a small network that makes the embeddings of virtual tokens in front of the input.

    Liu, Zheng, Du, Ding, Qian, Yang, Tang: "GPT Understands, Too", 2021, arXiv:2103.10385.
    """

    name: str = "ptuning"
    learning_rate: float = 1e-1
    virtual_tokens: int = 16
    network: str = "mlp"  # mlp: three linear layers | lstm: two layers in both directions and two linear ones, the paper's
    hidden_size: int = 0  # of the network; 0: that of the model's embeddings

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Put the network's tokens in front of the input's embeddings; what is saved is its output alone."""
        from peft import PromptEncoderConfig

        sizes = _peft.soft_prompt(model)
        config = PromptEncoderConfig(
            num_virtual_tokens=self.virtual_tokens,
            encoder_reparameterization_type=self.network.upper(),
            encoder_hidden_size=self.hidden_size or sizes["token_dim"],
            **sizes,
        )
        adapted = _peft.attach(model, config, context)
        if self.network == "lstm":
            _keep_in_float32(adapted.prompt_encoder["default"].lstm_head)
        return adapted

    def param_groups(self, model: "nn.Module") -> list[dict[str, Any]] | None:
        """The adapter at the method's learning rate, a classifier's new head at its own."""
        return _peft.groups(model)

    def errors(self) -> list[str]:
        """Number of tokens and size of the network."""
        found = super().errors() + _peft.at_least_one(virtual_tokens=self.virtual_tokens)
        found += _peft.one_of("network", self.network, ("mlp", "lstm"))
        if self.hidden_size < 0:
            found.append(f"method.hidden_size must be >= 0, got {self.hidden_size}")
        return found


def _keep_in_float32(layer: Any) -> None:
    """Compute a layer without autocast: CPUs have no LSTM in bfloat16 that could be differentiated."""
    import torch

    forward = layer.forward

    def plain(inputs: "Tensor") -> Any:
        with torch.autocast(inputs.device.type, enabled=False):
            return forward(inputs)

    layer.forward = plain

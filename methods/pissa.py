"""PiSSA and OLoRA: LoRA that starts from a part of the weights themselves."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.method import Context, register
from methods import _peft
from methods.lora import Lora

if TYPE_CHECKING:
    from torch import nn


@dataclass
class Offset(Lora):
    """Base class: LoRA that starts from a part of the weights, which `start` takes out of a layer."""

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Add the update, fill it, and let every layer subtract what it was filled with."""
        from methods._offset import start_from, wide

        adapted = _peft.attach(model, wide(self.config(model)), context)
        start_from(adapted, self.start)
        return adapted

    def start(self, layer: Any) -> None:
        """Fill the update of peft's `LoraLayer`, and take it out of the weight that the layer shows."""
        raise NotImplementedError(f"method {self.name!r} does not implement start()")


@register
@dataclass
class Pissa(Offset):
    """PiSSA: LoRA that starts from the principal singular values and vectors of every weight.

    Meng, Wang, Zhang: "PiSSA: Principal Singular Values and Singular Vectors Adaptation of Large Language Models",
    2024, arXiv:2404.02948. The base keeps its weights and the start is subtracted beside them, which is the same; what
    is saved is a plain LoRA of twice the rank on the untouched base.
    """

    name: str = "pissa"
    learning_rate: float = 3e-3
    iterations: int = 16  # of the fast singular value decomposition; 0: an exact one, which takes far longer

    def start(self, layer: Any) -> None:
        """By the singular value decomposition."""
        layer.pissa_init("default", f"pissa_niter_{self.iterations}" if self.iterations else "pissa")

    def errors(self) -> list[str]:
        """Those of LoRA, and the iterations."""
        wrong = [] if self.iterations >= 0 else [f"method.iterations must be >= 0, got {self.iterations}"]
        return super().errors() + wrong


@register
@dataclass
class Olora(Offset):
    """OLoRA: LoRA that starts from the first columns and rows of every weight's QR decomposition.

    Büyükakyüz: "OLoRA: Orthonormal Low-Rank Adaptation of Large Language Models", 2024, arXiv:2406.01775. The base
    keeps its weights and the start is subtracted beside them, which is the same; what is saved is a plain LoRA of
    twice the rank on the untouched base.
    """

    takes_conv1d: ClassVar[bool] = False  # peft decomposes the weight as it is stored

    name: str = "olora"
    learning_rate: float = 1e-3

    def start(self, layer: Any) -> None:
        """By the QR decomposition."""
        layer.olora_init("default")

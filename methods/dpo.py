"""DPO: learn from pairs of a right and a wrong answer, with any adapter."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from bench.method import Context, Method, ModelInfo, Quantization, register
from methods.lora import Lora

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class Dpo(Method):
    """DPO: learn to prefer right answers to wrong ones, measured against the untouched model, with any adapter.

    Rafailov, Sharma, Mitchell, Ermon, Manning, Finn: "Direct Preference Optimization: Your Language Model is
    Secretly a Reward Model", 2023, arXiv:2305.18290.
    """

    objective: ClassVar[str] = "dpo"

    name: str = "dpo"
    learning_rate: float = 3e-3
    beta: float = 0.1  # how strongly the model is held to the reference
    adapter: Method = field(default_factory=Lora)  # what trains; its own learning rate is not used

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """As the adapter does."""
        return self.adapter.adapt(model, context)

    def quantization(self) -> Quantization | None:
        """As the adapter does."""
        return self.adapter.quantization()

    def trains_base_weights(self) -> bool:
        """As the adapter does."""
        return self.adapter.trains_base_weights()

    def mergeable(self) -> bool:
        """As the adapter is."""
        return self.adapter.mergeable()

    def param_groups(self, model: "nn.Module") -> list[dict[str, Any]] | None:
        """As the adapter does."""
        return self.adapter.param_groups(model)

    def supports(self, model: ModelInfo) -> str | None:
        """Preferences are TRL's part, which has causal models alone; else as the adapter does."""
        if model.kind != "causal":
            return f"preferences are learned by causal models, and this is a {model.kind} model"
        return self.adapter.supports(model)

    def errors(self) -> list[str]:
        """Beta, and the adapter's errors under `method.adapter`."""
        found = super().errors()
        if self.beta <= 0:
            found.append(f"method.beta must be > 0, got {self.beta:g}")
        if self.adapter.objective != "sft":
            found.append(f"method.adapter must be a method of the objective sft, got {self.adapter.name!r}")
            return found
        return found + [error.replace("method.", "method.adapter.", 1) for error in self.adapter.errors()]

    def title(self) -> str:
        """`dpo` on LoRA, else `dpo-<adapter>`, unless it has a label."""
        return self.label or (self.name if self.adapter.name == "lora" else f"{self.name}-{self.adapter.title()}")

"""What the methods that learn from preferences share: they train whatever their adapter trains."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.method import Context, Method, ModelInfo, Quantization
from methods import _peft
from methods.lora import Lora

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


@dataclass
class OnAdapter(Method):
    """An objective on any adapter. Whoever derives from it sets `objective` and adds what its loss reads."""

    beta: float = 0.1
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

    def optimizer(
        self, model: "nn.Module", groups: list[dict[str, Any]], defaults: dict[str, Any]
    ) -> "Optimizer | None":
        """As the adapter does."""
        return self.adapter.optimizer(model, groups, defaults)

    def after_step(self, model: "nn.Module", step: int, progress: float) -> None:
        """As the adapter does."""
        self.adapter.after_step(model, step, progress)

    def penalty(self, model: "nn.Module") -> "Tensor | None":
        """As the adapter does."""
        return self.adapter.penalty(model)

    def supports(self, model: ModelInfo) -> str | None:
        """Preferences are TRL's part, which has causal models alone; else as the adapter does."""
        if model.kind != "causal":
            return f"preferences are learned by causal models, and this is a {model.kind} model"
        return self.adapter.supports(model)

    def errors(self) -> list[str]:
        """Beta, and the adapter's errors under `method.adapter`."""
        found = super().errors()
        found += _peft.above_zero(beta=self.beta)
        if self.adapter.objective != "sft":
            found.append(f"method.adapter must be a method of the objective sft, got {self.adapter.name!r}")
            return found
        return found + [error.replace("method.", "method.adapter.", 1) for error in self.adapter.errors()]

    def title(self) -> str:
        """`dpo` on LoRA, else `dpo-<adapter>`, with a loss that is not the usual one between; or the label."""
        loss, usual = (getattr(each, "loss_type", "") for each in (self, type(self)))
        adapter = "" if self.adapter.name == "lora" else self.adapter.title()
        return self.label or "-".join(filter(None, (self.name, "" if loss == usual else loss, adapter)))

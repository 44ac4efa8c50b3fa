"""AdaLoRA: LoRA in the form of a singular value decomposition, whose ranks are allocated while it trains."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.method import Context, register
from methods import _peft
from methods._linear import LinearAdapter

if TYPE_CHECKING:
    from torch import Tensor, nn

UNKNOWN = 1000  # steps, of a schedule that nothing follows


@register
@dataclass
class AdaLora(LinearAdapter):
    """AdaLoRA: updates P E Q whose singular values E are pruned during training, the least important of all layers first.

    Zhang, Chen, Bukharin, Karampatziakis, He, Cheng, Chen, Zhao: "AdaLoRA: Adaptive Budget Allocation for
    Parameter-Efficient Fine-Tuning", 2023, arXiv:2303.10512. The schedule needs a budget in steps, tokens or epochs.
    """

    takes_conv1d: ClassVar[bool] = True

    name: str = "adalora"
    learning_rate: float = 1e-2
    rank: int = 8  # on average over the layers, at the end
    initial_rank: int = 12  # of every layer
    alpha: float = 16.0  # the update is scaled by alpha / rank of the layer
    dropout: float = 0.0
    warmup: float = 0.1  # share of the steps before the first pruning
    final: float = 0.3  # share of the steps after the last pruning
    interval: int = 1  # steps between prunings
    orthogonality: float = 0.5  # weight of the penalty that keeps P and Q orthogonal

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Add the updates, with the schedule of their ranks over the steps of the budget."""
        from peft import AdaLoraConfig

        total = context.steps if context.steps and context.contents else UNKNOWN
        config = AdaLoraConfig(
            target_modules="all-linear",
            target_r=self.rank,
            init_r=self.initial_rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            tinit=int(self.warmup * total),
            tfinal=min(int(self.final * total), max(0, total - 2)),
            deltaT=self.interval,
            orth_reg_weight=self.orthogonality,
            total_step=total,
            fan_in_fan_out=_peft.has_conv1d(model),
        )
        return _peft.attach(model, config, context)

    def after_step(self, model: Any, step: int, steps: int | None) -> None:
        """Note how important each singular value is, and prune by the schedule.

        Raises:
            ValueError: the budget is in seconds, so that there is no schedule.
        """
        if steps is None:
            raise ValueError("budget.seconds: the schedule of method=adalora needs a budget in steps, tokens or epochs")
        if steps > 1:  # a schedule begins with a step that only looks
            model.base_model.update_and_allocate(step)

    def penalty(self, model: "nn.Module") -> "Tensor | None":
        """The mean of ||P^T P - I|| and ||Q Q^T - I|| over all layers (equation 4 of the paper, as peft has it)."""
        import torch

        if not self.orthogonality:
            return None
        norms = []
        for name, matrix in model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                square = matrix @ matrix.T if ".lora_A." in name else matrix.T @ matrix
                norms.append(torch.linalg.matrix_norm(square - torch.eye(len(square), device=square.device)))
        return self.orthogonality * torch.stack(norms).mean()

    def errors(self) -> list[str]:
        """Ranks, shares of the schedule and weights."""
        found = super().errors() + _peft.at_least_one(rank=self.rank, interval=self.interval)
        if self.initial_rank <= self.rank:
            found.append(f"method.initial_rank must be > method.rank={self.rank}, got {self.initial_rank}")
        if not (self.warmup >= 0 and self.final >= 0 and self.warmup + self.final < 1):
            shares = f"{self.warmup:g} and {self.final:g}"
            found.append(f"method.warmup and method.final must be >= 0 and < 1 together, got {shares}")
        if self.alpha <= 0:
            found.append(f"method.alpha must be > 0, got {self.alpha:g}")
        if not 0 <= self.dropout < 1:
            found.append(f"method.dropout must be >= 0 and < 1, got {self.dropout:g}")
        if self.orthogonality < 0:
            found.append(f"method.orthogonality must be >= 0, got {self.orthogonality:g}")
        return found

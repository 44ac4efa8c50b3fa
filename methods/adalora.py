"""AdaLoRA: LoRA in the form of a singular value decomposition, whose ranks are allocated while it trains."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.method import Context, register
from methods import _peft
from methods._linear import LinearAdapter

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

PARTS = 1000  # of a budget in seconds, each a step of the schedule


@register
@dataclass
class AdaLora(LinearAdapter):
    """AdaLoRA: updates P E Q whose singular values E are pruned while it trains, the least important of all first.

    Zhang, Chen, Bukharin, Karampatziakis, He, Cheng, Chen, Zhao: "AdaLoRA: Adaptive Budget Allocation for
    Parameter-Efficient Fine-Tuning", 2023, arXiv:2303.10512. In a budget of seconds the schedule follows the clock.
    """

    takes_conv1d: ClassVar[bool] = True

    name: str = "adalora"
    learning_rate: float = 5e-2
    rank: int = 8  # on average over the layers, at the end
    initial_rank: int = 12  # of every layer
    alpha: float = 16.0  # the update is scaled by alpha / rank of the layer
    dropout: float = 0.0
    warmup: float = 0.1  # share of the steps before the first pruning
    final: float = 0.3  # share of the steps after the last pruning
    interval: int = 1  # steps between prunings; thousandths of a budget in seconds
    orthogonality: float = 0.5  # weight of the penalty that keeps P and Q orthogonal

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Add the updates, with the schedule of their ranks over the steps of the budget."""
        from peft import AdaLoraConfig

        total = context.steps if context.steps and context.contents else PARTS
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

    def optimizer(
        self, model: "nn.Module", groups: list[dict[str, Any]], defaults: dict[str, Any]
    ) -> "Optimizer | None":
        """AdamW, whose checkpoints have what the schedule has noted too."""
        import torch

        optimizer = torch.optim.AdamW(groups, **defaults, fused=True)
        _keep(optimizer, model)
        return optimizer

    def after_step(self, model: Any, step: int, progress: float) -> None:
        """Note how important each singular value is, and prune by the schedule."""
        adalora = model.base_model
        settings = adalora.peft_config["default"]
        if settings.total_step == 1:  # a schedule begins with a step that only looks
            return
        now, last = round(progress * settings.total_step), settings.total_step - settings.tfinal
        if now >= last:  # the last pruning comes once, also where the clock has jumped over its time
            now = last if adalora.rankallocator.exp_avg_ipt else max(now, last + 1)
        adalora.update_and_allocate(now)

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
        found += _peft.above_zero(alpha=self.alpha)
        found += _peft.shares(dropout=self.dropout)
        if self.orthogonality < 0:
            found.append(f"method.orthogonality must be >= 0, got {self.orthogonality:g}")
        return found


def _keep(optimizer: "Optimizer", model: Any) -> None:
    """Let the averages of how important the parameters are be saved and loaded as a part of the optimizer's state."""
    import torch

    adalora = model.base_model
    allocator, settings = adalora.rankallocator, adalora.peft_config["default"]
    averages = {"sensitivity": "exp_avg_ipt", "uncertainty": "exp_avg_unc"}

    def parameters() -> dict[str, Any]:
        return {name: p for name, p in adalora.model.named_parameters() if ".lora_" in name and p.requires_grad}

    def save(optimizer: Any) -> None:
        for name, parameter in parameters().items():
            for key, average in averages.items():
                if name in getattr(allocator, average):
                    optimizer.state[parameter][key] = getattr(allocator, average)[name]
                else:  # after the last pruning
                    optimizer.state[parameter].pop(key, None)

    def load(optimizer: Any) -> None:
        for name, parameter in parameters().items():
            if "sensitivity" not in optimizer.state[parameter]:
                continue
            allocator.ipt[name] = torch.zeros_like(parameter)
            for key, average in averages.items():
                getattr(allocator, average)[name] = optimizer.state[parameter].pop(key)
        values = {name: p for name, p in parameters().items() if ".lora_E." in name}
        if any(p.any() for p in values.values()):  # what is pruned is zero
            settings.rank_pattern = {name: (p != 0).view(-1).tolist() for name, p in values.items()}

    optimizer.register_state_dict_pre_hook(save)
    optimizer.register_load_state_dict_post_hook(load)

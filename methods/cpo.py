"""CPO and SimPO: prefer right answers to wrong ones without a reference model, with any adapter."""

from dataclasses import dataclass
from typing import ClassVar

from bench.method import register
from methods._peft import one_of
from methods._preferences import OnAdapter


@register
@dataclass
class Cpo(OnAdapter):
    """CPO: learn right answers and to prefer them to wrong ones, without the base as reference, with any adapter.

    Xu, Sharaf, Chen, Tan, Shen, Van Durme, Murray, Kim: "Contrastive Preference Optimization: Pushing the Boundaries
    of LLM Performance in Machine Translation", 2024, arXiv:2401.08417.

    Other losses (`loss_type`) are those of DPO, without its reference, and

    - simpo, on its own with `alpha` 0: Meng, Xia, Chen: "SimPO: Simple Preference Optimization with a Reference-Free
      Reward", 2024, arXiv:2405.14734.
    """

    objective: ClassVar[str] = "cpo"

    name: str = "cpo"
    learning_rate: float = 1e-2
    beta: float = 0.1  # scale of the margin
    loss_type: str = "sigmoid"  # sigmoid | hinge | ipo | simpo
    alpha: float = 1.0  # weight of the cross-entropy of right answers
    gamma: float = 0.0  # of simpo alone: the margin to reach, in the scale of beta x margin

    def errors(self) -> list[str]:
        """Those of the adapter, and of the loss."""
        found = super().errors() + one_of("loss_type", self.loss_type, ("sigmoid", "hinge", "ipo", "simpo"))
        found += [
            f"method.{key} must be >= 0, got {getattr(self, key):g}"
            for key in ("alpha", "gamma")
            if getattr(self, key) < 0
        ]
        if self.loss_type != "simpo" and self.gamma:
            found.append(f"method.gamma has no effect with loss_type={self.loss_type}; use loss_type=simpo")
        return found

"""DPO: learn from pairs of a right and a wrong answer, with any adapter."""

from dataclasses import dataclass
from typing import ClassVar

from bench.method import register
from methods._peft import one_of
from methods._preferences import OnAdapter


@register
@dataclass
class Dpo(OnAdapter):
    """DPO: learn to prefer right answers to wrong ones, measured against the untouched model, with any adapter.

    Rafailov, Sharma, Mitchell, Ermon, Manning, Finn: "Direct Preference Optimization: Your Language Model is
    Secretly a Reward Model", 2023, arXiv:2305.18290.

    Other losses of the same margin (`loss_type`):

    - hinge: Liu, Zhao, Joshi, Khalman, Saleh, Liu, Liu: "Statistical Rejection Sampling Improves Preference
      Optimization", 2023, arXiv:2309.06657.
    - ipo: Azar, Rowland, Piot, Guo, Calandriello, Valko, Munos: "A General Theoretical Paradigm to Understand
      Learning from Human Preferences", 2023, arXiv:2310.12036. The margin is that of log-probabilities per token.
    - robust: Chowdhury, Kini, Natarajan: "Provably Robust DPO: Aligning Language Models with Noisy Feedback", 2024,
      arXiv:2403.00409.
    """

    objective: ClassVar[str] = "dpo"

    name: str = "dpo"
    learning_rate: float = 3e-3
    beta: float = 0.1  # how strongly the model is held to the reference
    loss_type: str = "sigmoid"  # sigmoid | hinge | ipo | robust
    label_smoothing: float = 0.0  # of robust alone: the share of pairs that are taken to be the wrong way round

    def errors(self) -> list[str]:
        """Those of the adapter, and of the loss."""
        found = super().errors() + one_of("loss_type", self.loss_type, ("sigmoid", "hinge", "ipo", "robust"))
        if self.loss_type == "robust" and not 0 < self.label_smoothing < 0.5:
            found.append(
                f"method.label_smoothing must be > 0 and < 0.5 with loss_type=robust, got {self.label_smoothing:g}"
            )
        if self.loss_type != "robust" and self.label_smoothing:
            found.append(f"method.label_smoothing has no effect with loss_type={self.loss_type}; use loss_type=robust")
        return found

"""ORPO: learn right answers and prefer them to wrong ones in one step, with any adapter."""

from dataclasses import dataclass
from typing import ClassVar

from bench.method import register
from methods._preferences import OnAdapter


@register
@dataclass
class Orpo(OnAdapter):
    """ORPO: supervised training on right answers that also raises their odds against wrong ones, with any adapter.

    Hong, Lee, Thorne: "ORPO: Monolithic Preference Optimization without Reference Model", 2024, arXiv:2403.07691.
    """

    objective: ClassVar[str] = "orpo"

    name: str = "orpo"
    learning_rate: float = 1e-2
    beta: float = 0.1  # weight of the odds ratio beside the cross-entropy, lambda in the paper

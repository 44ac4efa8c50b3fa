"""OSF and DEFT: train within a subspace that a decomposition of the weights gives."""

from dataclasses import dataclass
from typing import Any, ClassVar

from bench.method import register
from methods import _peft
from methods._linear import LinearAdapter


@register
@dataclass
class Osf(LinearAdapter):
    """OSF: train the part of every weight that its largest singular values leave, orthogonally to theirs.

    Nayak, Killamsetty, Han, Bhandwaldar, Chanda, Xu, Wang, Pareja, Silkin, Eyceoz, Srivastava: "Sculpting Subspaces:
    Constrained Full Fine-Tuning in LLMs for Continual Learning", 2025, arXiv:2504.07097.
    """

    name: str = "osf"
    learning_rate: float = 3e-3
    kept: float = 0.5  # share of the singular values, from the largest, that stay as they are

    def config(self, model: Any) -> Any:
        """On all linear layers."""
        from peft import OSFConfig

        return OSFConfig(target_modules="all-linear", effective_rank=self.kept)

    def errors(self) -> list[str]:
        """The share."""
        found = super().errors()
        return found if 0 < self.kept < 1 else [*found, f"method.kept must be > 0 and < 1, got {self.kept:g}"]


@register
@dataclass
class Deft(LinearAdapter):
    """DEFT: train a low-rank subspace that is taken out of every weight, and what takes its place.

    Kumar, Anwer, Khan, Khan, Laptev, Cholakkal: "DEFT: Decompositional Efficient Fine-Tuning for Text-to-Image
    Models", 2025, arXiv:2509.22793.
    """

    name: str = "deft"
    learning_rate: float = 1e-2
    rank: int = 8
    projection: str = "relu"  # relu: of the subspace's matrix as it is | qr: of its orthonormal basis
    takes_conv1d: ClassVar[bool] = True

    def config(self, model: Any) -> Any:
        """On all linear layers."""
        from peft import DeftConfig

        return DeftConfig(
            target_modules="all-linear",
            r=self.rank,
            decomposition_method=self.projection,
            fan_in_fan_out=_peft.has_conv1d(model),
        )

    def errors(self) -> list[str]:
        """Rank and projection."""
        found = super().errors() + _peft.at_least_one(rank=self.rank)
        return found + _peft.one_of("projection", self.projection, ("relu", "qr"))

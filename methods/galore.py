"""GaLore and APOLLO: train every weight, with an optimizer that keeps its state in a small projection of the gradient.

Their packages are optional: `pip install 'tunebench[galore]'` and `pip install 'tunebench[apollo]'`.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from bench.method import Context, Method, ModelInfo, register
from methods import _peft
from methods._blocks import blocks

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


@dataclass
class _Projected(Method):
    package: ClassVar[str] = ""

    learning_rate: float = 3e-3
    rank: int = 128  # of the projection of a linear layer's gradient
    interval: int = 200  # steps between projections
    scale: float = 1.0  # of the updates that come out of the projection

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Unfreeze all weights, in float32."""
        return model.float().requires_grad_(True)

    def trains_base_weights(self) -> bool:
        """All of them."""
        return True

    def supports(self, model: ModelInfo) -> str | None:
        """Needs its package."""
        module = self.package.replace("-", "_")
        if find_spec(module) is None:
            return f"needs the package {self.package}, which is not installed: pip install 'tunebench[{self.name}]'"
        return None

    def projected(self, model: "nn.Module", groups: list[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
        """The parameter groups, with those of the layers' linear weights in groups of their own."""
        from torch import nn

        linear = {id(m.weight) for b in blocks(model) for m in b.modules() if isinstance(m, nn.Linear)}
        found: list[dict[str, Any]] = []
        for group in groups:
            inside = [p for p in group["params"] if id(p) in linear]
            outside = [p for p in group["params"] if id(p) not in linear]
            found += [group | {"params": outside}] if outside else []
            found += [group | {"params": inside, **settings}] if inside else []
        return found

    def errors(self) -> list[str]:
        """Rank, interval and scale."""
        found = super().errors() + _peft.at_least_one(rank=self.rank, interval=self.interval)
        return found if self.scale > 0 else [*found, f"method.scale must be > 0, got {self.scale:g}"]


@register
@dataclass
class GaLore(_Projected):
    """GaLore: train every weight with AdamW in the space of the largest singular vectors of each gradient.

    Zhao, Zhang, Chen, Wang, Anandkumar, Tian: "GaLore: Memory-Efficient LLM Training by Gradient Low-Rank
    Projection", 2024, arXiv:2403.03507.
    """

    package: ClassVar[str] = "galore-torch"

    name: str = "galore"
    scale: float = 0.25

    def optimizer(
        self, model: "nn.Module", groups: list[dict[str, Any]], defaults: dict[str, Any]
    ) -> "Optimizer | None":
        """The authors' AdamW; the layers' linear weights are projected."""
        from galore_torch import GaLoreAdamW

        settings = {"rank": self.rank, "update_proj_gap": self.interval, "scale": self.scale, "proj_type": "std"}
        return GaLoreAdamW(self.projected(model, groups, **settings), **defaults, no_deprecation_warning=True)


@register
@dataclass
class Apollo(_Projected):
    """APOLLO: train every weight by its gradient, scaled as AdamW would in a random projection of it.

    Zhu, Zhang, Cong, Liu, Park, Chandra, Long, Pan, Wang, Lee: "APOLLO: SGD-like Memory, AdamW-level Performance",
    2024, arXiv:2412.05270. The licence of its package forbids commercial use.
    """

    package: ClassVar[str] = "apollo-torch"

    name: str = "apollo"
    scale_type: str = "channel"  # channel: one scale for each | tensor: one in all, with rank 1 the paper's APOLLO-Mini

    def optimizer(
        self, model: "nn.Module", groups: list[dict[str, Any]], defaults: dict[str, Any]
    ) -> "Optimizer | None":
        """The authors' AdamW; the layers' linear weights are scaled."""
        from apollo_torch import APOLLOAdamW

        settings = {"rank": self.rank, "update_proj_gap": self.interval, "scale": self.scale, "proj_type": "std"}
        settings |= {"proj": "random", "scale_type": self.scale_type}
        return APOLLOAdamW(self.projected(model, groups, **settings), **defaults, no_deprecation_warning=True)

    def errors(self) -> list[str]:
        """What is scaled."""
        return super().errors() + _peft.one_of("scale_type", self.scale_type, ("channel", "tensor"))

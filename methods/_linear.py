"""What the methods share that put an adapter of peft's on every linear layer but the head."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.method import Context, Method, ModelInfo
from methods import _peft

if TYPE_CHECKING:
    from torch import nn

BYPASSED = ("mamba", "falcon_mamba")
CONV1D = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp_decoder")


@dataclass
class LinearAdapter(Method):
    """Base class: a subclass has the configuration of its adapter, and peft does the rest."""

    takes_conv1d: ClassVar[bool] = False  # whether peft's layer can stand on GPT-2's Conv1D

    def config(self, model: Any) -> Any:
        """The `PeftConfig` of the adapter on `model`."""
        raise NotImplementedError(f"method {self.name!r} does not implement config()")

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Put the adapter on all linear layers but the head."""
        return _peft.attach(model, self.config(model), context)

    def mergeable(self) -> bool:
        """The adapted weight can take the place of the base's."""
        return True

    def param_groups(self, model: "nn.Module") -> list[dict[str, Any]] | None:
        """The adapter at the method's learning rate, a classifier's new head at its own."""
        return _peft.groups(model)

    def supports(self, model: ModelInfo) -> str | None:
        """Mamba reads some of its linear layers' weights past the layers; GPT-2's are of another class."""
        if model.architecture in BYPASSED:
            return f"{model.architecture} uses the weights of its linear layers directly, past any update beside them"
        if model.architecture in CONV1D and not self.takes_conv1d:
            return f"the layers of {model.architecture} are of the class Conv1D, on which peft has no {self.name}"
        return None


def sizes(model: "nn.Module") -> list[int]:
    """The numbers of inputs and outputs of all linear layers but the head."""
    from torch import nn

    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    found = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not head]
    return [size for module in found for size in (module.in_features, module.out_features)]

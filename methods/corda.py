"""CorDA and LoRA-GA: LoRA that starts from a part of the weights which the data choose."""

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from bench.method import Context, ModelInfo, register
from methods import _peft
from methods.pissa import Offset

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class DataOffset(Offset):
    """Base class: LoRA that starts from a part of the weights, which `look` finds with some rows."""

    examples: int = 64  # training rows that the start looks at

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Look at the rows, then start from what was found; without rows the update starts from nothing."""
        if context.contents and context.rows:
            from peft.tuners.tuners_utils import _maybe_include_all_linear_layers

            from methods._rows import batches

            config = _maybe_include_all_linear_layers(self.config(model), model)
            self.look(model, config, list(islice(batches(model, context), self.examples)))
        return super().adapt(model, context)

    def look(self, model: Any, config: Any, rows: "list[dict[str, Tensor]]") -> None:
        """Note at every layer of `config` what its start needs; each batch has one row."""
        raise NotImplementedError(f"method {self.name!r} does not implement look()")

    def errors(self) -> list[str]:
        """Those of LoRA, and the number of rows."""
        return super().errors() + _peft.at_least_one(examples=self.examples)


@register
@dataclass
class Corda(DataOffset):
    """CorDA: LoRA that starts from the principal directions of every weight in view of its inputs' covariance.

    Yang, Li, Zhou, Song, Wu, Nie, Ghanem: "CorDA: Context-Oriented Decomposition Adaptation of Large Language Models
    for Task-Aware Parameter-Efficient Fine-tuning", 2024, arXiv:2406.05223, in its instruction-previewed mode: the
    inputs are those of the training rows. The base keeps its weights and the start is subtracted beside them, which is
    the same; what is saved is a plain LoRA of twice the rank on the untouched base.
    """

    name: str = "corda"
    learning_rate: float = 1e-3

    def look(self, model: Any, config: Any, rows: "list[dict[str, Tensor]]") -> None:
        """At the covariance of every layer's inputs."""
        from peft.tuners.lora.config import CordaConfig
        from peft.tuners.lora.corda import preprocess_corda

        def run() -> None:
            for row in rows:
                model(**row)

        config.corda_config = CordaConfig(corda_method="ipm")
        preprocess_corda(model, config, run)

    def supports(self, model: ModelInfo) -> str | None:
        """Needs layers that all read whole texts."""
        if model.kind == "classifier":
            return "peft's CorDA looks at layers that read texts, and the one before a classifier's head reads a token"
        return super().supports(model)

    def start(self, layer: Any) -> None:
        """By the decomposition."""
        if hasattr(layer.get_base_layer(), "eigens"):
            layer.corda_init("default", "corda")


@register
@dataclass
class LoraGA(DataOffset):
    """LoRA-GA: LoRA that starts from the singular vectors of every weight's gradient, to learn as full tuning does.

    Wang, Yu, Li: "LoRA-GA: Low-Rank Adaptation with Gradient Approximation", 2024, arXiv:2407.05000. The base keeps
    its weights and the start is subtracted beside them, which is the same; what is saved is a plain LoRA of twice the
    rank on the untouched base. At the start the gradients of all layers are held at once.
    """

    name: str = "lora-ga"

    def look(self, model: Any, config: Any, rows: "list[dict[str, Tensor]]") -> None:
        """At the gradient of the loss on all rows."""
        from peft.tuners.lora.loraga import preprocess_loraga

        def run() -> None:
            for row in rows:
                model(**row).loss.backward()

        config.lora_ga_config = _settings()
        preprocess_loraga(model, config, run)

    def start(self, layer: Any) -> None:
        """By the decomposition; peft leaves a layer as it is that has no gradient."""
        layer.lora_ga_init("default", _settings())


def _settings() -> Any:
    from peft import LoraGAConfig

    return LoraGAConfig()

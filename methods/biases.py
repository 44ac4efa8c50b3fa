"""BitFit and BEFT: train biases alone, those that are there or new ones of the values."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.method import Context, Method, ModelInfo, register
from methods import _peft
from methods._linear import LinearAdapter

if TYPE_CHECKING:
    from torch import nn

# Architectures that have no bias in their usual form; what a configuration adds to them is not seen here.
WITHOUT = (
    "llama", "mistral", "mixtral", "gemma", "gemma2", "gemma3_text", "qwen3", "qwen3_moe", "phi3", "t5", "mt5", "umt5",
    "olmo", "olmo2", "cohere", "smollm3",
)  # fmt: skip
# Architectures in which one layer computes queries, keys and values together.
FUSED = ("gpt2", "openai-gpt", "bloom", "falcon", "gpt_neox", "gpt_bigcode", "phi3", "mpt", "dbrx")


@register
@dataclass
class BitFit(Method):
    """BitFit: train the biases of the model alone.

    Ben Zaken, Ravfogel, Goldberg: "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked
    Language-models", 2021, arXiv:2106.10199.
    """

    name: str = "bitfit"
    learning_rate: float = 1e-2

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Unfreeze every parameter that is called a bias, in float32."""
        model.float()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError(f"method=bitfit: {context.info.name} has no biases to train; use another method")
        return model

    def trains_base_weights(self) -> bool:
        """Its biases."""
        return True

    def supports(self, model: ModelInfo) -> str | None:
        """Most newer language models have no biases."""
        if model.architecture in WITHOUT:
            return f"{model.architecture} has no biases to train"
        return None


@register
@dataclass
class Beft(LinearAdapter):
    """BEFT: train a bias of the values in every attention layer, new where there is none.

    Huang, Balashankar, Aminifar: "BEFT: Bias-Efficient Fine-Tuning of Language Models in Low-Data Regimes", 2025,
    arXiv:2509.15974.
    """

    name: str = "beft"
    learning_rate: float = 3e-2

    def config(self, model: Any) -> Any:
        """On the layers that compute values."""
        from peft import BeftConfig

        return BeftConfig(target_modules=r".*\.(v_proj|value|v)")

    def mergeable(self) -> bool:
        """Only where the base has biases, which most language models have not."""
        return False

    def supports(self, model: ModelInfo) -> str | None:
        """Needs layers that compute values and nothing else."""
        if model.architecture in _peft.RECURRENT:
            return f"{model.architecture} has no values of attention"
        if model.architecture in FUSED:
            return f"{model.architecture} computes queries, keys and values in one layer"
        return super().supports(model)

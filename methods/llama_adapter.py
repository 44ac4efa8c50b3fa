"""LLaMA-Adapter: train prompts that the upper layers attend to beside the input, through a gate."""

from dataclasses import dataclass
from typing import Any

from bench.method import ModelInfo, register
from methods import _peft
from methods._linear import LinearAdapter

ARCHITECTURES = ("llama", "mistral", "gpt2")


@register
@dataclass
class LlamaAdapter(LinearAdapter):
    """LLaMA-Adapter: train prompts that the layers attend to beside the input, through a gate that starts closed.

    Zhang, Han, Liu, Gao, Zhou, Hu, Yan, Lu, Li, Qiao: "LLaMA-Adapter: Efficient Fine-tuning of Language Models with
    Zero-init Attention", 2023, arXiv:2303.16199.
    """

    name: str = "llama-adapter"
    learning_rate: float = 3e-2
    tokens: int = 10  # of the prompt in each layer
    layers: int = 0  # that have one, from the last; 0: all

    def config(self, model: Any) -> Any:
        """In the attention of the last layers."""
        from peft import AdaptionPromptConfig

        depth = model.config.num_hidden_layers
        return AdaptionPromptConfig(adapter_len=self.tokens, adapter_layers=min(self.layers or depth, depth))

    def mergeable(self) -> bool:
        """The prompts are not part of any weight."""
        return False

    def supports(self, model: ModelInfo) -> str | None:
        """As far as peft has written it."""
        if model.architecture not in ARCHITECTURES:
            return f"peft has it for {', '.join(ARCHITECTURES)}, and this is {model.architecture}"
        return None

    def errors(self) -> list[str]:
        """Numbers of tokens and layers."""
        found = super().errors() + _peft.at_least_one(tokens=self.tokens)
        return found if self.layers >= 0 else [*found, f"method.layers must be >= 0, got {self.layers}"]

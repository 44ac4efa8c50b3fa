"""Prompt tuning: train the embeddings of virtual tokens in front of the input."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.method import Context, Method, register
from methods import _peft

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class Prompt(Method):
    """Prompt tuning: train the embeddings of virtual tokens in front of the input, and nothing else.

    Lester, Al-Rfou, Constant: "The Power of Scale for Parameter-Efficient Prompt Tuning", 2021, arXiv:2104.08691.
    """

    name: str = "prompt"
    learning_rate: float = 3e-1
    virtual_tokens: int = 16
    init: str = "text"  # text: of the task's instruction and examples | vocabulary: of random tokens | random

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Put the virtual tokens in front of the input's embeddings."""
        from peft import PromptTuningConfig, PromptTuningInit

        start = PromptTuningInit.SAMPLE_VOCAB if self.init == "vocabulary" else PromptTuningInit.RANDOM
        config = PromptTuningConfig(
            num_virtual_tokens=self.virtual_tokens, prompt_tuning_init=start, **_peft.soft_prompt(model)
        )
        adapted = _peft.attach(model, config, context)
        self.start(adapted, context)
        return adapted

    def start(self, adapted: Any, context: Context) -> None:
        """Fill the prompt with the embeddings of the text, where it starts from that."""
        import torch

        if self.init == "text":  # not peft's own TEXT, which loads a second tokenizer by name, from the Hub if need be
            tokens = _peft.start_tokens(adapted, context, self.virtual_tokens)
            with torch.no_grad():
                adapted.prompt_encoder["default"].embedding.weight.copy_(adapted.word_embeddings(tokens)[0])

    def param_groups(self, model: "nn.Module") -> list[dict[str, Any]] | None:
        """The adapter at the method's learning rate, a classifier's new head at its own."""
        return _peft.groups(model)

    def errors(self) -> list[str]:
        """Number of tokens and their start."""
        found = super().errors() + _peft.at_least_one(virtual_tokens=self.virtual_tokens)
        return found + _peft.one_of("init", self.init, ("text", "vocabulary", "random"))

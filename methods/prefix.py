"""Prefix tuning: train keys and values in front of the input, in every layer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.method import Context, Method, ModelInfo, register
from methods import _peft

if TYPE_CHECKING:
    from torch import nn

RECURRENT = ("rwkv", "mamba", "mamba2", "falcon_mamba")


@register
@dataclass
class Prefix(Method):
    """Prefix tuning: train the attention's keys and values of virtual tokens in front of the input, in every layer.

    Li, Liang: "Prefix-Tuning: Optimizing Continuous Prompts for Generation", 2021, arXiv:2101.00190. The prefix
    starts from the activations of real words, which the paper found far better than a random start.
    """

    name: str = "prefix"
    learning_rate: float = 1e-1
    virtual_tokens: int = 16
    init: str = "text"  # text: keys and values of the task's instruction and examples | random

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Put the prefix in front, filled with the keys and values that the frozen base computes from the text."""
        import torch
        from peft import PrefixTuningConfig, initialize_kv_prefix_from_past_key_values

        tokens = _peft.start_tokens(model, context, self.virtual_tokens)
        with torch.no_grad():
            cache = model.eval()(input_ids=tokens, use_cache=True).past_key_values
        # the shape is the cache's own: the configuration does not say it in the same way for all architectures
        _, heads, _, width = next(iter(cache))[0].shape
        config = PrefixTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=self.virtual_tokens,
            num_attention_heads=heads,
            token_dim=heads * width,
        )
        adapted = _peft.attach(model, config)
        if self.init == "text":
            initialize_kv_prefix_from_past_key_values(adapted, past_key_values=cache)
        return adapted

    def supports(self, model: ModelInfo) -> str | None:
        """Needs attention, and its keys and values as they were computed."""
        if model.architecture in RECURRENT:
            return f"{model.architecture} has no keys and values to put in front of the input"
        if model.gradient_checkpointing:
            return "recomputed keys and values lack the prefix; use train.gradient_checkpointing=false"
        return None

    def errors(self) -> list[str]:
        """Number of tokens and their start."""
        found = super().errors() + _peft.at_least_one(virtual_tokens=self.virtual_tokens)
        return found + _peft.one_of("init", self.init, ("text", "random"))

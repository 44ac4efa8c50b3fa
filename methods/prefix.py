"""Prefix tuning: train keys and values in front of the input, in every layer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.method import Context, Method, ModelInfo, register
from methods import _peft

if TYPE_CHECKING:
    from torch import Tensor, nn

# Encoders whose attention takes no keys and values from outside.
CLOSED = ("albert", "convbert", "deberta", "deberta-v2", "distilbert", "esm", "eurobert", "flaubert", "fnet", "funnel",
          "ibert", "longformer", "luke", "mobilebert", "modernbert", "mpnet", "mra", "nomic_bert", "nystromformer",
          "reformer", "squeezebert", "xlm", "yoso")  # fmt: skip


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
    projection: bool = False  # a network of two layers makes the keys and values, the paper's reparameterisation

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Put the prefix in front, filled with the keys and values that the frozen base computes from the text."""
        import torch
        from peft import initialize_kv_prefix_from_past_key_values

        tokens = _peft.start_tokens(model, context, self.virtual_tokens)
        with torch.no_grad():
            cache = _keys_and_values(model.eval(), tokens, context.info.kind)
        # the shape is the cache's own: the configuration does not say it in the same way for all architectures
        _, heads, _, width = next(iter(cache))[0].shape
        adapted = _peft.attach(model, self.config(heads, width), context)
        if self.init == "text":
            initialize_kv_prefix_from_past_key_values(adapted, past_key_values=cache)
        return adapted

    def config(self, heads: int, width: int) -> Any:
        """Of so many heads of attention."""
        from peft import PrefixTuningConfig

        return PrefixTuningConfig(
            num_virtual_tokens=self.virtual_tokens,
            num_attention_heads=heads,
            token_dim=heads * width,
            prefix_projection=self.projection,
            encoder_hidden_size=heads * width,
        )

    def param_groups(self, model: "nn.Module") -> list[dict[str, Any]] | None:
        """The adapter at the method's learning rate, a classifier's new head at its own."""
        return _peft.groups(model)

    def supports(self, model: ModelInfo) -> str | None:
        """Needs attention, and its keys and values as they were computed."""
        if model.architecture in _peft.RECURRENT:
            return f"{model.architecture} has no keys and values to put in front of the input"
        if model.architecture in CLOSED:
            return f"the attention of {model.architecture} takes no keys and values from outside"
        if model.gradient_checkpointing:
            return "recomputed keys and values lack the prefix; use train.gradient_checkpointing=false"
        return None

    def errors(self) -> list[str]:
        """Number of tokens and their start."""
        found = super().errors() + _peft.at_least_one(virtual_tokens=self.virtual_tokens)
        found += _peft.one_of("init", self.init, ("text", "random"))
        if self.projection and self.init == "text":
            found.append("method.init must be random with method.projection, got text, which sets keys and values")
        return found


def _keys_and_values(model: Any, tokens: "Tensor", kind: str) -> Any:
    """Those that the frozen model computes of `tokens` [1, length].

    An encoder-decoder's are those of its decoder, where peft puts the prefix. An encoder keeps none by itself and
    fills the cache that it is given.
    """
    from transformers import DynamicCache

    if kind == "seq2seq":
        return model(input_ids=tokens, decoder_input_ids=tokens, use_cache=True).past_key_values.self_attention_cache
    if kind == "classifier":
        cache = DynamicCache()
        model.base_model(input_ids=tokens, past_key_values=cache)
        return cache
    return model(input_ids=tokens, use_cache=True).past_key_values

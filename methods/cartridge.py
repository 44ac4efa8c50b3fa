"""Cartridges: a prefix of keys and values whose first tokens stay as they are."""

from dataclasses import dataclass
from typing import Any

from bench.method import register
from methods.prefix import Prefix


@register
@dataclass
class Cartridge(Prefix):
    """Cartridges: train keys and values in front of the input, the first of which stay as a sink of attention.

    Eyuboglu, Ehrlich, Arora, Guha, Zinsley, Liu, Tennien, Rudra, Zou, Mirhoseini, Ré: "Cartridges: Lightweight and
    general-purpose long context representations via self-study", 2025, arXiv:2506.06266. The parameters are the
    paper's; they are trained on the task, not by its distillation of a long text.
    """

    name: str = "cartridge"
    frozen_tokens: int = 1

    def config(self, heads: int, width: int) -> Any:
        """Of so many heads of attention."""
        from peft import CartridgeConfig

        return CartridgeConfig(
            num_virtual_tokens=self.virtual_tokens,
            num_frozen_tokens=self.frozen_tokens,
            num_attention_heads=heads,
            token_dim=heads * width,
        )

    def errors(self) -> list[str]:
        """Those of a prefix, and what is frozen of it."""
        found = super().errors()
        if not 0 <= self.frozen_tokens < self.virtual_tokens:
            found.append(f"method.frozen_tokens must be >= 0 and < method.virtual_tokens, got {self.frozen_tokens}")
        if self.projection:
            found.append("method.projection is of prefix alone; use method=prefix")
        return found

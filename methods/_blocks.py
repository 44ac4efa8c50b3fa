"""The layers of a model, for the methods that choose among them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def blocks(model: "nn.Module") -> "list[nn.Module]":
    """The layers of a model in their order, an encoder's before its decoder's: the members of its outermost lists."""
    from torch import nn

    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    outermost = [each for name, each in lists.items() if not any(name.startswith(f"{other}.") for other in lists)]
    return [layer for each in outermost for layer in each]

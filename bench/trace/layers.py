"""Which layer of a model is at work: in the forward pass by hooks, in the backward pass by autograd's own numbers.

Every node of autograd's graph has a number that rises as the forward pass makes it. So the numbers at which the layers
began tell for a node that runs backwards whose it is.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

OUTSIDE = -1  # the layer of what belongs to none
LEAF = 2**63  # nodes that add to a parameter's gradient have a number beyond this, and run at once when they can


class Layers:
    """The layers of one model while it trains.

    Attributes:
        path: of the list of layers in the model; empty before `attach`, and where there is no such list.
        of: the layer of a tensor, by the recorder's number; OUTSIDE for those that are known to belong to none.
    """

    def __init__(self) -> None:
        self.path = ""
        self.of: dict[int, int] = {}
        self._at, self._open = OUTSIDE, OUTSIDE
        self._begins, self._whose = [-1], [OUTSIDE]  # numbers of autograd's nodes, rising, and the layer from each on

    def attach(
        self, model: nn.Module, count: int, number: Callable[[Tensor], int], more: Callable[[nn.Module], Iterable[Any]]
    ) -> None:
        """Watch a model.

        Args:
            model: adapted, ready to be trained.
            count: its layers.
            number: of a tensor.
            more: tensors of a module beside its parameters and buffers.
        """
        self.of = {number(tensor): OUTSIDE for tensor in (*model.parameters(), *model.buffers(), *more(model))}
        lists = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == count]
        if len(lists) == 1:
            self.path, layers = lists[0]
            for i, layer in enumerate(layers):
                self.of |= {number(tensor): i for tensor in (*layer.parameters(), *layer.buffers(), *more(layer))}
                layer.register_forward_pre_hook(partial(self._enter, i))
            layers[-1].register_forward_hook(self._leave)
        self.of.pop(0, None)  # of tensors without elements

    def _enter(self, i: int, *_: Any) -> None:
        if torch._C._current_graph_task_id() == -1:  # else it is computed again for the backward pass
            self._begins.append(torch.autograd._get_sequence_nr())
            self._whose.append(i)
            self._open = i

    def _leave(self, *_: Any) -> None:
        if torch._C._current_graph_task_id() == -1:
            self._begins.append(torch.autograd._get_sequence_nr())
            self._whose.append(OUTSIDE)

    def rest(self) -> None:
        """The passes of a step are over: what happens now is not in the order of the layers."""
        self._open = OUTSIDE

    def passing(self) -> bool:
        """Whether a pass over the layers is going on; what follows the last layer counts to it."""
        return self._open != OUTSIDE

    def here(self, own: int | None) -> int:
        """The layer of what happens now.

        Args:
            own: that of the tensor to which it happens, which decides outside the passes; None if that is not known,
                which makes it a part of what happened last.
        """
        if torch._C._current_graph_task_id() != -1:
            node = torch._C._current_autograd_node()
            number = LEAF if node is None else node._sequence_nr()
            if number < LEAF:
                self._at = self._whose[bisect_right(self._begins, number) - 1]
        elif self.passing():
            self._at = self._open
        elif own is not None:
            self._at = own
        return self._at

    def again(self, numbers: Iterable[int]) -> list[int]:
        """The layers of what happened to these tensors before it was known whose they are."""
        self._at, found = OUTSIDE, []
        for number in numbers:
            found.append(self.here(self.of.get(number)))
        return found

"""What the operations of a training give on fake tensors, found faster than by torch's own way.

That looks for decompositions, constants, symbols and devices at each operation, for a fifth of a millisecond. Here the
operations that nearly all of a training consists of go straight to the kernels of the meta device, as torch's way does
in the end, and the kernels that are written in Python are asked once for each combination of shapes.
"""

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager

aten = torch.ops.aten
CPU, META = torch.device("cpu"), torch.device("meta")
# Kernels of the meta device that are written in C++, and views, which are made anew each time.
DIRECT = {
    aten._unsafe_view.default, aten.add_.Tensor, aten.alias.default, aten.copy_.default, aten.detach.default,
    aten.expand.default, aten.select.int, aten.slice.Tensor, aten.t.default, aten.transpose.int,
    aten.unsqueeze.default, aten.view.default,
}  # fmt: skip
# Those that write one value, or random ones, into the tensor that they are given, and give it back.
FILL = {aten.fill_.Scalar, aten.normal_.default, aten.uniform_.default, aten.zero_.default}
# Those whose one result is a new tensor.
NEW = {
    aten._to_copy.default, aten.add.Tensor, aten.cat.default, aten.clone.default, aten.div.Scalar, aten.div.Tensor,
    aten.mean.dim, aten.mm.default, aten.mul.Scalar, aten.mul.Tensor, aten.neg.default, aten.pow.Tensor_Scalar,
    aten.rsqrt.default, aten.silu.default, aten.silu_backward.default, aten.slice_backward.default, aten.sub.Tensor,
    aten.sum.default, aten.sum.dim_IntList, aten.zeros_like.default,
}  # fmt: skip
QUICK = DIRECT | FILL | NEW
Made = tuple[torch.Size, tuple[int, ...], torch.dtype]


class Shapes:
    """Carries out the operations in `QUICK`, and remembers what the ones in `NEW` give."""

    def __init__(self) -> None:
        self._known: dict[Any, Made] = {}
        self._state: dict[str, Any] = {}  # of a new fake tensor

    def __call__(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The outcome of one of `QUICK` whose tensors are all fake ones that stand for some on the CPU."""
        if func in FILL:
            return args[0]
        first = args[0][0] if isinstance(args[0], (list, tuple)) else args[0]  # of those that are joined
        mode = first.fake_mode
        if func not in NEW:
            with in_kernel_invocation_manager(mode):
                out = func(*args, **kwargs)
            return out if isinstance(out, FakeTensor) else self._fake(mode, out)
        key = (func, *map(_part, args), *((name, _part(value)) for name, value in kwargs.items()))
        known = self._known.get(key)
        if known is None:
            if kwargs.get("device") is not None:
                kwargs = kwargs | {"device": META}
            with in_kernel_invocation_manager(mode):
                out = func(*args, **kwargs)
            self._known[key] = out.shape, out.stride(), out.dtype
        else:
            with torch._C._DisableTorchDispatch():
                out = torch.empty_strided(known[0], known[1], dtype=known[2], device=META)
        return self._fake(mode, out)

    def _fake(self, mode: FakeTensorMode, out: Tensor) -> FakeTensor:
        """`FakeTensor(mode, out, CPU)`, in a third of its time: but for the first one, the attributes are copied.

        As that does by default, it lets the address of the contents be asked for, which some methods do for a key.
        """
        if self._state.get("fake_mode") is not mode:
            first = FakeTensor(mode, out, CPU)
            self._state = dict(vars(first))
            return first
        made = Tensor._make_subclass(
            FakeTensor, out, out.requires_grad, dispatch_device=True, device_for_backend_keys=CPU
        )
        torch._C._set_warn_deprecated_on_mutable_data_ptr(made)
        vars(made).update(self._state)
        return made


def _part(value: Any) -> Any:
    """An argument as part of a key; a number with its type, which decides that of the result."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    return (*map(_part, value),) if isinstance(value, (list, tuple)) else (type(value), value)

"""Watch a computation from below: what it allocates and frees, and which operations it is made of.

`Recorder` sees every operation that torch dispatches. With `pretend` the weights and all that is computed from them
are torch's fake tensors, which have a shape and no content, while what decides shapes (ids, masks, labels, places)
stays real: so the harness's code takes the same paths as in a real run, and a model of any size needs no memory.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.advise.trace import Operation
from bench.trace.layers import Layers
from bench.trace.shapes import QUICK, Shapes

aten = torch.ops.aten
DEVICE = torch.ops.prim.device.default
Function = Callable[..., Any]
REAL = 2**22  # elements: no tensor of whole numbers that a model makes by itself, such as places or a mask, is larger
WHOLE = (torch.int64, torch.int32, torch.bool)
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
# Operations that compute nothing: views that torch does not count as such, and memory that is not written.
IDLE = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "alias", "lift_fresh",
    "_unsafe_view", "_reshape_alias", "resize_", "set_",
}  # fmt: skip
NOTED = ("events", "sizes", "names", "shapes", "layers", "whose", "operations", "dispatches")


class Recorder(TorchDispatchMode):
    """Notes allocations, and while `counting` operations.

    Attributes:
        events: n where the n-th tensor is allocated, -n where it is freed; see `bench.advise.allocator.replay`.
        sizes: of each tensor by its number, bytes.
        names: of the operation that made each, with the module that was at work.
        shapes: of each.
        layers: of the model that is watched.
        whose: the layer of every event.
        operations: those that were counted: the layer, the name under which, and what it is.
        dispatches: all operations, views included.
        counting: under which name operations are counted; empty: not at all.
        over: whether no more events are noted.
    """

    def __init__(self, pretend: bool, workspace: Callable[[Function, Any], int] = lambda *_: 0) -> None:
        super().__init__()
        self.events: list[int] = []
        self.sizes: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.layers = Layers()
        self.whose: list[int] = []
        self.operations: list[tuple[int, str, Operation]] = []
        self.dispatches: dict[str, int] = {}
        self.counting = self.module = ""
        self.over = False
        self._pretend, self._workspace, self._shapes = pretend, workspace, Shapes()
        self._known: dict[int, tuple[int, Any]] = {}  # by storage: number, and a reference that tells its end

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and each operation would pass through the compiler's switch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out one operation, for real or not, and note it."""
        if func is DEVICE and isinstance(args[0], FakeTensor):  # most of what is dispatched; it does nothing
            return args[0].fake_device
        kwargs = kwargs or {}
        workspace = self._workspace(func, args)
        if workspace:
            self._allocate(workspace, f"workspace of {func}", ())
        scratch = len(self.sizes)
        given = list(tensors((args, kwargs) if kwargs else args))
        out = self._carry_out(func, args, kwargs, given) if self._pretend else func(*args, **kwargs)
        own = None if self.layers.passing() else self._owners(args)
        made = list(tensors(out))
        for i, tensor in enumerate(made):
            self.note(tensor, func, own[i] if own and i < len(own) else None)
        if workspace:
            self.happens(-scratch)
        if self.counting:
            self._count(self.layers.here(own[0] if own else None), func, args, kwargs, given, out, made)
        return out

    def __getstate__(self) -> dict[str, Any]:
        """What was noted, without what watches."""
        return {name: value for name, value in vars(self).items() if name in NOTED}

    def note(self, tensor: Tensor, func: Any = "outside", own: int | None = None) -> int:
        """The number of a tensor's storage, which is allocated now if it is new; 0 if it is empty.

        Args:
            tensor: any.
            func: the operation that made it.
            own: the layer of what it was made from, where that is known.
        """
        try:
            storage = tensor.untyped_storage()
        except NotImplementedError:  # a wrapper around several tensors
            return 0
        key = storage._cdata
        if key in self._known:
            return self._known[key][0]
        size = storage.nbytes()
        if size == 0:
            return 0
        number = self._allocate(int(size), f"{func} in {self._where()}", tuple(tensor.shape), own)

        def ended(_: Any) -> None:
            del self._known[key]
            self.happens(-number)

        self._known[key] = number, weakref.ref(storage, ended)
        return number

    def happens(self, event: int, own: int | None = None) -> None:
        """Note an event, and in which layer."""
        if self.over:
            return
        self.events.append(event)
        self.whose.append(self.layers.here(self.layers.of.get(abs(event), own)))

    def attach(self, model: nn.Module, layers: int, more: Callable[[nn.Module], Iterable[Tensor]]) -> None:
        """Begin the record at a model as if it had been loaded as it is: without what was freed on the way there.

        Args:
            model: ready to be trained.
            layers: how many it has.
            more: tensors of a module beside its parameters and buffers.
        """
        self.layers.attach(model, layers, self.note, more)
        alive = self.live()
        self.events = [number for number in self.events if number in alive]
        self.whose = self.layers.again(self.events)

    def _owners(self, args: Any) -> list[int | None]:
        """The layers of the first argument's tensors."""
        known = (self._known.get(tensor.untyped_storage()._cdata) for tensor in tensors(args[:1]))
        return [None if each is None else self.layers.of.get(each[0]) for each in known]

    def _where(self) -> str:
        return "the backward pass" if torch._C._current_graph_task_id() != -1 else self.module or "the model"

    def reserve(self, size: int, name: str) -> int:
        """The number of memory that something outside takes from the allocator and keeps."""
        return self._allocate(size, name, ())

    def live(self) -> set[int]:
        """The numbers of what is allocated."""
        return {number for number, _ in self._known.values()}

    def _allocate(self, size: int, name: str, shape: tuple[int, ...], own: int | None = None) -> int:
        number = len(self.sizes) + 1
        self.sizes[number], self.names[number], self.shapes[number] = size, name, shape
        self.happens(number, own)
        if own is not None or self.layers.passing():
            self.layers.of[number] = self.whose[-1]
        return number

    def _carry_out(self, func: Any, args: Any, kwargs: Any, given: list[Tensor]) -> Any:
        """The operation, for real where nothing fake is among its arguments."""
        fakes = [isinstance(tensor, FakeTensor) for tensor in given]
        if any(fakes):
            if func in QUICK and all(fakes) and not any(map(_is_sparse, args)):
                try:
                    return self._shapes(func, args, kwargs)
                except RuntimeError:  # of a copied parameter torch does not hide the device it stands for
                    return func(*args, **kwargs)
            if not func._schema.returns:  # it changes contents alone, as a grouped step of an optimizer does
                return None
            if func is aten._local_scalar_dense.default:
                return _scalar(given[0].dtype)
            if func is aten.sparse_mask.default:  # torch takes a fake mask for an empty one
                places = given[-2]
                return torch.sparse_coo_tensor(places, args[0].new_empty(places.shape[1]), args[0].shape)
            if func is aten.isinf.default:  # nothing overflows
                with unset_fake_temporarily():
                    return torch.zeros(args[0].shape, dtype=torch.bool)
            if func in INDEXED:
                args = (args[0], [place for index in args[1] for place in _places(index)], *args[2:])
            return func(*args, **kwargs)
        if given or _makes_whole_numbers(func, args, kwargs):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        return func(*args, **kwargs)

    def _count(
        self, layer: int, func: Any, args: Any, kwargs: Any, given: list[Tensor], out: Any, made: list[Tensor]
    ) -> None:
        self.dispatches[self.counting] = self.dispatches.get(self.counting, 0) + 1
        name = func.__name__.partition(".")[0]
        if func.is_view or name in IDLE:
            return
        first = next((t for t in (*given, *made) if t.is_floating_point()), None)
        if first is None:
            return
        moved = sum({_identity(t): _bytes(t) for t in (*given, *made)}.values())
        if name.endswith("_"):  # written in place: what is changed moves twice
            changed = args[0] if not name.startswith("_fused_adam") else (args[0], args[2], args[3])  # and both moments
            moved += sum(_bytes(t) for t in tensors(changed))
        kind, flops = "memory", 0.0
        if func.overloadpacket in flop_registry:
            flops = float(flop_registry[func.overloadpacket](*args, **kwargs, out_val=out))
            kind = "attention" if "attention" in name else "matmul"
        elif func.namespace == "bitsandbytes":
            kind, flops = _bitsandbytes(name, args)
        elif name.startswith("_fused_adam"):
            kind = "optimizer"
        together = len(args[0]) if name.startswith(("_foreach", "_fused")) and args else 1  # tensors
        dtype = str(first.dtype).removeprefix("torch.")
        self.operations.append((layer, self.counting, Operation(kind, dtype, flops, float(moved), 1, together)))


def tensors(tree: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dictionaries; of a sparse one its two parts, which have the memory."""
    if isinstance(tree, Tensor):
        if _is_sparse(tree):
            yield from (tree._indices(), tree._values())
        else:
            yield tree
    elif isinstance(tree, (tuple, list, dict)):
        for each in tree.values() if isinstance(tree, dict) else tree:
            if isinstance(each, Tensor) and not _is_sparse(each):
                yield each
            elif isinstance(each, (Tensor, tuple, list, dict)):
                yield from tensors(each)


def _is_sparse(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.sparse_coo


def _places(index: Tensor | None) -> list[Tensor | None]:
    """An index; of a real mask the places where it is set, whose number then is known, for each of its dimensions."""
    if index is None or isinstance(index, FakeTensor) or index.dtype != torch.bool:
        return [index]
    with unset_fake_temporarily():
        return list(index.nonzero(as_tuple=True))


def _makes_whole_numbers(func: Any, args: Any, kwargs: Any) -> bool:
    dtype = kwargs.get("dtype")
    packet = func.overloadpacket
    if packet is aten.arange:
        return dtype in WHOLE or (dtype is None and all(isinstance(each, int) for each in args))
    if packet is aten.full:
        whole = dtype in WHOLE or (dtype is None and isinstance(args[1], int))
        return whole and _elements(args[0]) <= REAL
    return packet in (aten.zeros, aten.ones, aten.empty) and dtype in WHOLE and _elements(args[0]) <= REAL


def _scalar(dtype: torch.dtype) -> float | int | bool:
    """What a number that nobody knows is taken for: a loss or a norm that is only told, a layer that is not dropped."""
    return True if dtype == torch.bool else 0.0 if dtype.is_floating_point else 0


def _elements(shape: Any) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _identity(tensor: Tensor) -> tuple[int, int, int]:
    return tensor.untyped_storage()._cdata, int(tensor.storage_offset()), tensor.numel()


def _bytes(tensor: Tensor) -> int:
    """What a kernel reads of a tensor: one that repeats its elements is no larger than what it stands on."""
    size = tensor.numel() * tensor.element_size()
    return min(size, int(tensor.untyped_storage().nbytes())) if 0 in tensor.stride() else size


def _bitsandbytes(name: str, args: Any) -> tuple[str, float]:
    if name == "gemm_4bit":
        rows = args[0].numel() // args[0].shape[-1]
        return "matmul", 2.0 * rows * args[2][0] * args[2][1]
    return "dequantize", 0.0

"""What fake tensors ask of torch's and sympy's modules for sizes that are not known, where every size is a number.

Those modules take a third of a second to import, to reason about symbols. There are none here, and the functions answer
as torch's own (`torch.fx.experimental.symbolic_shapes`) do for numbers.
"""

import operator
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any


class Basic:
    """What sympy's expressions derive from; there are none."""


Max = max


class ConstantSource:
    """Where the size of a tensor comes from, which nobody asks for."""

    def __init__(self, *_: Any) -> None:
        pass


AttrSource = RandomValueSource = ConstantSource


class GuardOnDataDependentSymNode(RuntimeError):
    """A decision about a size that is not known; never raised here."""


def guard_or_false(condition: Any) -> bool:
    """Whether it holds."""
    return bool(condition)


guard_or_true = guard_size_oblivious = statically_known_true = expect_true = guard_or_false


def guarding_hint_or_throw(size: Any) -> Any:
    """The size."""
    return size


def has_guarding_hint(_: Any) -> bool:
    """Whether a size is known: it is."""
    return True


def is_nested_int(_: Any) -> bool:
    """Whether a size stands for ragged ones: it does not."""
    return False


is_symbolic = has_free_symbols = has_free_unbacked_symbols = is_nested_int


def free_unbacked_symbols(_: Any) -> set[Any]:
    """The symbols in something: none."""
    return set()


free_symbols = free_unbacked_symbols


def _iterate_exprs(_: Any) -> Iterator[Any]:
    return iter(())


_iterate_nodes = _iterate_exprs


def compute_unbacked_bindings(*_: Any, **__: Any) -> None:
    """Which symbols a result has brought: none."""


def sym_and(*conditions: Any) -> Any:
    """Whether all hold."""
    return reduce(operator.and_, conditions)


def sym_or(*conditions: Any) -> Any:
    """Whether any holds."""
    return reduce(operator.or_, conditions)


def sym_eq(one: Any, other: Any) -> bool:
    """Whether two sizes, or two nested sequences of sizes, are equal."""
    if isinstance(one, Sequence) and isinstance(other, Sequence):
        return len(one) == len(other) and all(map(sym_eq, one, other))
    return bool(one == other)

"""Stretch what was recorded of a model with few layers to the model's own depth.

The layers of most architectures are alike, and so is what happens in each of them; only the first and the last have
other neighbours. So models of two and of three layers are recorded. From the latter a record of two layers is made by
leaving out what happened in its middle layer, and only if that is in every event what was recorded of the former, the
middle layer is repeated to the whole depth. Sizes that grow with the number of layers, such as that of a list of the
norms of all gradients, follow from the difference of the two. Where the second step is of the length of the first, the
model of two layers takes the first alone, which tells what grows. What cannot be stretched is recorded in full.
"""

import os
import pickle
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

from bench.advise.allocator import RESET
from bench.advise.trace import Operation
from bench.trace.layers import OUTSIDE
from bench.trace.recorder import Recorder
from bench.trace.result import Marks

SHORT, LONG, MIDDLE = 2, 3, 1  # layers of the models that are recorded, and the one that is repeated or left out
STEPS = 2  # that are recorded of a model
WORTH = 8  # layers, from which on the two are clearly less work than the whole
# Architectures whose layers are all alike. Others may choose between kinds of layers by rules of their own.
UNIFORM = (
    "bert", "bloom", "falcon", "glm", "gpt2", "gptj", "gpt_neox", "llama", "mistral", "opt", "phi3", "qwen2", "qwen3",
    "roberta", "rwkv", "mamba",
)  # fmt: skip

Recorded = tuple[Recorder, Marks]
Counted = tuple[int, str, Operation]


class Irregular(Exception):
    """What was recorded cannot be stretched."""


def recorded(record: Callable[[int, int], Recorded], config: Any, alike: bool, processes: int = 1) -> Recorded:
    """What is recorded of a model of the depth that its configuration has.

    Args:
        record: of a model with so many layers, in so many steps.
        config: of the model.
        alike: whether both steps are of the same length.
        processes: that may work on it, 1 or 2.
    """
    depth = config.num_hidden_layers
    if uniform(config) and depth >= WORTH:
        function = partial(record, SHORT, 1 if alike else STEPS)
        with suppress(Irregular), forked(function) if processes > 1 else nullcontext(function) as short:
            long = record(LONG, STEPS)
            return stretched(short(), long, depth)
    return record(depth, STEPS)


@contextmanager
def forked(function: Callable[[], Recorded]) -> Iterator[Callable[[], Recorded]]:
    """Inside the block a fork of this process carries out a function; what is given waits for its result.

    Where it fails, it is carried out here, and fails here.
    """
    there, here = os.pipe()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException), os.fdopen(here, "wb") as out:
            pickle.dump(function(), out)
        os._exit(0)
    os.close(here)
    with os.fdopen(there, "rb") as given:
        try:
            yield lambda: pickle.loads(data) if (data := given.read()) else function()
        finally:
            given.close()
            os.waitpid(pid, 0)


def uniform(config: Any) -> bool:
    """Whether all layers of a model are alike, by its configuration."""
    lists = [
        value for value in vars(config).values() if isinstance(value, list) and len(value) == config.num_hidden_layers
    ]
    return config.model_type in UNIFORM and all(len(set(map(str, each))) == 1 for each in lists)


def cut(config: Any, depth: int) -> None:
    """Let a configuration have `depth` layers."""
    if depth != config.num_hidden_layers:
        if vars(config).get("layer_types"):  # not where it is computed, as Mamba's is
            config.layer_types = config.layer_types[:depth]
        config.num_hidden_layers = depth


def stretched(short: Recorded, long: Recorded, depth: int) -> Recorded:
    """The record of a model of `depth` layers.

    Raises:
        Irregular: the record of LONG layers without its middle one is not that of SHORT layers, or does not begin
            with that of their first step.
    """
    seen, times = long[0], depth - LONG
    shown, same, whole = _Stretch(short[0], 0), _Stretch(seen, -1), _Stretch(seen, times)
    grown = {same.source[n]: times * growth for n, growth in _growths(shown, same).items()}
    made = Recorder(pretend=False)
    made.events, made.names = whole.events, whole.names
    made.sizes = {n: whole.sizes[n] + grown.get(source, 0) for n, source in whole.source.items()}
    made.shapes = {n: seen.shapes[source] for n, source in whole.source.items()}
    made.operations = _operations(short[0].operations, seen.operations, times)
    made.dispatches = {p: n + times * (n - short[0].dispatches[p]) for p, n in seen.dispatches.items()}
    return made, _marks(short[1], long[1], made, whole, depth)


def _growths(shown: "_Stretch", same: "_Stretch") -> dict[int, int]:
    """How much larger the tensors of LONG layers without the middle one are than those of SHORT layers, by number.

    Those of a second step that was not recorded of SHORT layers grow as those of the first that are of the same name
    and size.
    """
    events, known = len(shown.events), len(shown.source)
    if shown.events[-1:] != [RESET] and events != len(same.events):
        raise Irregular
    if shown.events != same.events[:events] or shown.whose != same.whose[:events]:
        raise Irregular
    if any(same.names.get(n) != name for n, name in shown.names.items()):
        raise Irregular
    growths = {n: same.sizes[n] - size for n, size in shown.sizes.items()}
    alike = defaultdict[tuple[str, int], set[int]](set)
    for n, growth in growths.items():
        alike[same.names[n], same.sizes[n]].add(growth)
    for n in range(known + 1, len(same.source) + 1):
        found = alike[same.names[n], same.sizes[n]]
        if len(found) != 1:
            raise Irregular
        growths[n] = next(iter(found))
    return growths


def _marks(short: Marks, long: Marks, made: Recorder, whole: "_Stretch", depth: int) -> Marks:
    marks = Marks(made, long.device, long.vocabulary, depth)
    for name in ("static_bytes", "trainable", "total", "checkpoint_bytes", "tokens"):
        value = getattr(long, name)
        setattr(marks, name, value + (depth - LONG) * (value - getattr(short, name)))
    for name, numbers in long.of.items():
        marks.of[name] = {n for n, source in whole.source.items() if source in numbers}
    return marks


@dataclass(frozen=True)
class _Segment:
    """Events one after another in the same layer; the layer's neighbours in the same pass lie beside it."""

    layer: int
    events: list[int]
    allocated: list[int]


class _Stretch:
    """A record in which the middle layer comes `copies` times more; -1: not at all.

    Attributes:
        events: with the tensors numbered anew, as they are allocated.
        whose: the layer of each.
        source: by the new number, that of the tensor that it repeats.
        sizes: of the tensors, as in the source.
        names: likewise, with the layer's number.
    """

    def __init__(self, record: Recorder, copies: int) -> None:
        if not record.layers.path:
            raise Irregular
        self._record, self._copies = record, copies
        self.events: list[int] = []
        self.whose: list[int] = []
        self.source: dict[int, int] = {}
        self.sizes: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self._segments = _segments(record)
        self._place = {n: (j, i) for j, seg in enumerate(self._segments) for i, n in enumerate(seg.allocated)}
        self._made: dict[tuple[int, int], int] = {}  # by the source's number, and the new layer
        self._renamed: dict[tuple[str, int], str] = {}
        for j, segment in enumerate(self._segments):
            for layer in self._layers(j):
                for event in segment.events:
                    self._repeat(event, j, layer)

    def _layers(self, j: int) -> Sequence[int]:
        """The layers that a segment stands for, in the order of the pass."""
        layer = self._segments[j].layer
        if layer != MIDDLE or not self._copies:
            return (self._moved(layer),)
        beside = [self._segments[k].layer if 0 <= k < len(self._segments) else OUTSIDE for k in (j - 1, j + 1)]
        if beside not in ([MIDDLE - 1, MIDDLE + 1], [MIDDLE + 1, MIDDLE - 1]):
            raise Irregular
        copies = range(MIDDLE, MIDDLE + self._copies + 1)
        return copies if beside[0] < beside[1] else copies[::-1]

    def _moved(self, layer: int) -> int:
        return layer + self._copies if layer > MIDDLE else layer

    def _repeat(self, event: int, j: int, layer: int) -> None:
        self.whose.append(layer)
        if event == 0:
            self.events.append(event)
        elif event > 0:
            number = len(self.source) + 1
            self._made[event, layer] = number
            self.source[number], self.sizes[number] = event, self._record.sizes[event]
            self.names[number] = self._name(self._record.names[event], self._segments[j].layer, layer)
            self.events.append(number)
        else:
            number = self._made.pop(self._meant(-event, self._segments[j].layer, layer), 0)
            if not number:
                raise Irregular
            self.events.append(-number)

    def _name(self, name: str, source: int, layer: int) -> str:
        if (name, layer) not in self._renamed:
            path = self._record.layers.path
            self._renamed[name, layer] = name.replace(f"{path}.{source}", f"{path}.{layer}")
        return self._renamed[name, layer]

    def _meant(self, number: int, here: int, layer: int) -> tuple[int, int]:
        """Which of a tensor's copies is freed in the copy for `layer` of a segment of the layer `here`."""
        there = self._segments[self._place[number][0]].layer
        if not self._copies:
            return number, there
        if here != MIDDLE:
            if there == MIDDLE and here == OUTSIDE:
                raise Irregular
            if there == MIDDLE and self._copies < 0:  # that of the layer which has taken its place beside this one
                taken = MIDDLE - 1 if here > MIDDLE else MIDDLE + 1
                return self._alike(number, taken), self._moved(taken)
            return number, there + self._copies * (there > MIDDLE or there == MIDDLE < here)
        new = there + layer - here
        if there == MIDDLE or layer == here + (self._copies if there > here else 0):
            return number, new  # the layer's own, or that of the neighbour which is no copy
        if abs(there - here) != 1 or there == OUTSIDE:
            raise Irregular
        return self._alike(number, MIDDLE), new  # the neighbour is a copy

    def _alike(self, number: int, layer: int) -> int:
        """What the segment of `layer` beside that of a tensor, in the same pass, allocates in the same place."""
        k, i = self._place[number]
        for beside in (k - 1, k + 1):
            if 0 <= beside < len(self._segments) and self._segments[beside].layer == layer:
                alike = self._segments[beside].allocated
                if i < len(alike) and self._record.sizes[alike[i]] == self._record.sizes[number]:
                    return alike[i]
        raise Irregular


def _segments(record: Recorder) -> list[_Segment]:
    found = []
    for layer, pairs in groupby(zip(record.whose, record.events, strict=True), key=lambda pair: pair[0]):
        events = [event for _, event in pairs]
        found.append(_Segment(layer, events, [event for event in events if event > 0]))
    return found


def _repeated(operations: list[Counted], copies: int) -> list[Counted]:
    found = []
    for layer, part, operation in operations:
        new = range(MIDDLE, MIDDLE + copies + 1) if layer == MIDDLE else (layer + copies * (layer > MIDDLE),)
        found += [(each, part, operation) for each in new]
    return found


def _operations(short: list[Counted], long: list[Counted], times: int) -> list[Counted]:
    """Those of the whole depth: of the layers repeated, and of all layers together as much larger as they are more."""
    if len(short) != sum(layer != MIDDLE for layer, _, _ in long):
        raise Irregular
    others = iter(short)
    alike, grown = [], []
    for layer, part, large in long:
        at, of, small = (MIDDLE, part, large) if layer == MIDDLE else next(others)
        if (at, of, small.kind, small.dtype) != (layer - (layer > MIDDLE), part, large.kind, large.dtype):
            raise Irregular
        if small == large:
            alike.append((layer, part, large))
            continue
        flops = large.flops + times * (large.flops - small.flops)
        moved = large.bytes + times * (large.bytes - small.bytes)
        kernels = large.kernels + times * (large.kernels - small.kernels)
        grown.append((layer, part, replace(large, flops=flops, bytes=moved, kernels=kernels)))
    return _repeated(alike, times) + grown

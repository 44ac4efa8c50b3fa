"""Read prompts once, and go on from their keys and values.

What all prompts begin with (a system prompt, few-shot examples) is read once for all of them. Soft prompts are in
the keys and values of what was read, so what follows needs the inner model alone. Prompts are read with padding on
the right, which leaves the positions of all methods as they are; then every row moves to the right end. So rows of
different lengths can be joined, and windows of sliding or chunked attention hold as many tokens as without padding.
Values differ from those of a single unpadded row by the rounding of sums alone.

A model that keeps no such keys and values (state-space models, also as a part of the layers, encoder-decoders, some
adapters) has no reader.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.functional import pad as fill
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from bench.data.tokens import pad
from bench.models.logits import inner_model, logits_only_at

SHARED = 8  # tokens that prompts must have in common for these to be read apart


@dataclass
class Read:
    """Rows that a model has read.

    Attributes:
        cache: keys and values [rows, heads, length, width] of every layer, those of a short row at the right end.
        mask: [rows, length], 1 where there are any.
        logits: [rows, vocabulary] of the token that follows.
    """

    cache: DynamicCache
    mask: Tensor
    logits: Tensor

    def select(self, rows: Sequence[int]) -> "Read":
        """These rows alone, in this order, each as often as it is named."""
        at = torch.tensor(rows, device=self.mask.device)
        mask = self.mask[at]
        first = int(mask.any(0).int().argmax())  # before it all is padding
        layers = [(keys[at, :, first:], values[at, :, first:]) for keys, values in _layers(self.cache)]
        return Read(_cache(layers), mask[:, first:], self.logits[at])

    def move_right(self) -> None:
        """Move what every row has, which is padded on the right so far, to the right end."""
        missing = self.mask.shape[1] - self.mask.sum(1, keepdim=True)
        least = int(missing.min())
        at = torch.arange(least, self.mask.shape[1], device=self.mask.device) - missing
        index = at.clamp(min=0)[:, None, :, None]
        self.mask = (at >= 0).to(self.mask.dtype)
        for layer in self.cache.layers:
            layer.keys = layer.keys.gather(2, index.expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3]))
            layer.values = layer.values.gather(2, index.expand(-1, layer.values.shape[1], -1, layer.values.shape[3]))

    def joined(self, other: "Read") -> "Read":
        """These rows and the other's."""
        length = max(self.mask.shape[1], other.mask.shape[1])
        both = [(length - read.mask.shape[1], read) for read in (self, other)]
        widened = ([_widened(layer, by) for layer in _layers(read.cache)] for by, read in both)
        layers = [
            (torch.cat([keys, others]), torch.cat([values, other_values]))
            for (keys, values), (others, other_values) in zip(*widened, strict=True)
        ]
        return Read(
            _cache(layers),
            torch.cat([fill(read.mask, (by, 0)) for by, read in both]),
            torch.cat([self.logits, other.logits]),
        )


@dataclass
class Reader:
    """Reads prompts, and what follows them.

    Attributes:
        model: a causal language model in evaluation mode, with or without an adapter.
        shared: tokens that every prompt begins with, and that are read already.
        start: their keys and values; None where there are none.
    """

    model: nn.Module
    shared: int = 0
    start: Read | None = None
    inner: Any = field(init=False)

    def __post_init__(self) -> None:
        self.inner = inner_model(self.model)
        self._placed = "position_ids" in inspect.signature(self.inner.forward).parameters

    def read(self, prompts: Sequence[list[int]]) -> Read:
        """The keys and values of prompts, which begin with what they share, and the logits after them."""
        return self.read_through(prompts, [[]] * len(prompts))[0]

    def read_through(self, prompts: Sequence[list[int]], completions: Sequence[list[int]]) -> tuple[Read, Tensor]:
        """Read prompts with their completions.

        Returns:
            What `read` gives for the prompts, and the summed log-probability of each completion, [prompts].
        """
        lengths = [len(prompt) - self.shared for prompt in prompts]
        rows = [
            prompt[self.shared :] + completion[:-1] for prompt, completion in zip(prompts, completions, strict=True)
        ]
        ids, mask = self._padded(rows)
        place, ends = torch.arange(ids.shape[1], device=ids.device), torch.tensor(lengths, device=ids.device)[:, None]
        keep = mask.bool() & (place >= ends - 1)  # the token at t+1 is predicted at t
        cache, before, logits = self._first(ids, mask, keep)
        counts = keep.sum(1)
        read = Read(cache, torch.cat([before, (place < ends).to(mask.dtype)], 1), logits[counts.cumsum(0) - counts])
        if keeps_all(cache):
            read.move_right()
        targets = [token for completion in completions for token in completion or [0]]
        log_probs = -cross_entropy(logits.float(), torch.tensor(targets, device=ids.device), reduction="none")
        return read, torch.zeros(len(rows), device=ids.device).index_add(0, keep.nonzero()[:, 0], log_probs)

    def _first(self, ids: Tensor, mask: Tensor, keep: Tensor) -> tuple[Any, Tensor, Tensor]:
        """The first pass over rows: their cache, the mask of what was in it before, and the logits to be kept."""
        if self.start is not None:
            start = self.start.select([0] * len(ids))
            return start.cache, start.mask, self.follow(start.cache, start.mask, ids, mask, keep)
        with logits_only_at(self.model, keep):
            output = self.model(input_ids=ids, attention_mask=mask, past_key_values=DynamicCache(), use_cache=True)
        cache = output.get("past_key_values")
        virtual = cache.get_seq_length() - ids.shape[1] if keeps_all(cache) else 0
        return cache, torch.ones_like(mask[:, :1]).expand(-1, virtual), output.logits

    def follow(self, cache: DynamicCache, before: Tensor, ids: Tensor, mask: Tensor, keep: Tensor) -> Tensor:
        """Logits [kept, vocabulary] where `keep` is set, of tokens `ids` [rows, length], padded as `mask` says.

        Args:
            cache: of what they follow; takes theirs too.
            before: the mask of what is in the cache.
            ids: the tokens.
            mask: which of them are no padding.
            keep: the places whose logits are wanted.
        """
        whole = torch.cat([before, mask], 1)
        inputs = {"input_ids": ids, "attention_mask": whole, "past_key_values": cache, "use_cache": True}
        if self._placed:
            inputs["position_ids"] = (whole.cumsum(1) - 1).clamp(min=0)[:, before.shape[1] :]
        with logits_only_at(self.inner, keep):
            logits: Tensor = self.inner(**inputs).logits
        return logits

    def step(self, read: Read, tokens: Tensor) -> Read:
        """The rows with one token more each, [rows]."""
        more = torch.ones_like(tokens)[:, None]
        logits = self.follow(read.cache, read.mask, tokens[:, None], more, more.bool())
        return Read(read.cache, torch.cat([read.mask, more], 1), logits)

    def _padded(self, rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        device = self.inner.device
        return pad(rows, 0).to(device), pad([[1] * len(row) for row in rows], 0).to(device)


@torch.no_grad()
def reader(model: nn.Module, prompts: Sequence[list[int]]) -> Reader | None:
    """A reader of these prompts, which has read what they all begin with; None where the model can have none."""
    inner: Any = inner_model(model)
    if inner.config.is_encoder_decoder or "past_key_values" not in inspect.signature(inner.forward).parameters:
        return None
    kinds = {type(layer) for layer in DynamicCache(config=inner.config).layers}
    if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
        return None
    shared = min(_in_common(prompts), min(map(len, prompts)) - 1)
    start = Reader(model).read([prompts[0][: max(1, shared)]])
    if not keeps_all(start.cache):
        return None
    return Reader(model, shared, start) if shared >= SHARED else Reader(model)


def _in_common(rows: Sequence[list[int]]) -> int:
    """Tokens with which all rows begin: what the first and the last in order share, all between them share too."""
    first, last = min(rows), max(rows)
    both = zip(first, last, strict=False)
    return next((i for i, (one, other) in enumerate(both) if one != other), min(len(first), len(last)))


def keeps_all(cache: object) -> bool:
    """Whether a cache holds keys and values of every token in every layer, and nothing else."""
    return isinstance(cache, DynamicCache) and all(
        type(layer) is DynamicLayer and layer.keys is not None for layer in cache.layers
    )


def _cache(layers: Sequence[tuple[Tensor, Tensor]]) -> DynamicCache:
    """A cache of these keys and values themselves, which its own constructor would copy."""
    cache = DynamicCache()
    for keys, values in layers:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def _layers(cache: DynamicCache) -> list[tuple[Tensor, Tensor]]:
    return [(layer.keys, layer.values) for layer in cache.layers]


def _widened(layer: tuple[Tensor, Tensor], by: int) -> tuple[Tensor, Tensor]:
    keys, values = layer
    return fill(keys, (0, 0, by, 0)), fill(values, (0, 0, by, 0))

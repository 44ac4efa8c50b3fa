"""What a trace tells of a training: its memory, its operations, its sizes. `bench.trace` makes it, without a GPU.

A trace is one train step of the harness's own code on tensors that have no content (`torch`'s fake tensors), whose
allocations are replayed through a model of the allocator. It does not depend on the card, but for the family of
devices; what a card adds (speed, context, size) is in `bench.advise.cards`.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes")  # that make it
# Of the memory at the peak: what holds it.
CATEGORIES = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "workspace")
NOT_COMPILED = "what torch.compile makes of a model is not traced"


class NotTraceable(ValueError):
    """This configuration cannot be traced; the message says why."""


class TracingFailed(NotTraceable):
    """Tracing went wrong, which does not tell that the training would; the message says how."""


@dataclass(frozen=True)
class Workload:
    """The batches of a training, as far as memory and time depend on them.

    Attributes:
        rows: examples at once on one device (a micro batch); a pair of DPO is one example.
        mean_tokens: length of a typical batch, padding included.
        longest_tokens: length of the longest one, padding included.
        labelled: share of the tokens that carry loss.
        padded: whether rows of a batch differ in length, so that attention gets a mask.
        reference: whether the reference's log-probabilities, where an objective needs them, are computed beforehand.
        classes: of a classifier.
    """

    rows: int
    mean_tokens: int
    longest_tokens: int
    labelled: float = 0.5
    padded: bool = True
    reference: bool = True
    classes: int = 2


@dataclass(frozen=True)
class Question:
    """What is to be traced. Equal questions have equal answers for the same versions of the libraries.

    Attributes:
        run: the run as plain data, as `bench.config.run.to_dict` makes it.
        workload: its batches.
        device: `cuda` or `cpu`, which decides dtypes, kernels and allocator.
    """

    run: dict[str, Any]
    workload: Workload
    device: str = "cuda"


@dataclass(frozen=True)
class Operation:
    """Operations of one step that are alike; `flops` and `bytes` are of each of them.

    Attributes:
        kind: `matmul` (matrix products), `attention` (fused kernels of it), `memory` (everything that the memory's
            bandwidth bounds), `dequantize` (of 4-bit and 8-bit weights) or `optimizer`.
        dtype: of the computation, such as `bfloat16`.
        flops: floating-point operations; a multiplication with an addition is two.
        bytes: read and written, every tensor once.
        count: how many there are in a step (all its micro batches and the optimizer's step).
        kernels: how many kernels a GPU starts for one of them.
    """

    kind: str
    dtype: str
    flops: float
    bytes: float
    count: int
    kernels: int = 1


@dataclass(frozen=True)
class Trace:
    """The answer to a question.

    Attributes:
        live_bytes: peak of the bytes in tensors alone: what a run on a CPU measures above its baseline.
        allocated_bytes: peak that torch.cuda.max_memory_allocated() would give.
        reserved_bytes: peak that torch.cuda.max_memory_reserved() would give.
        static_bytes: allocated between loading and the first step: weights and adapter.
        breakdown: bytes of each of `CATEGORIES` at the peak of what is allocated.
        peak_operation: the operation at which that peak is, with the module it belongs to.
        trainable_parameters: count.
        total_parameters: count; a quantised one counts as many as it stands for.
        checkpoint_bytes: of what the run would save.
        operations: of one optimizer step at the typical length.
        dispatches: operations that Python and torch start in that step, views included.
        tokens: of that step that are not padding.
        layers: of the model.
        versions: of the libraries that made it.
    """

    live_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    static_bytes: int
    breakdown: dict[str, int]
    peak_operation: str
    trainable_parameters: int
    total_parameters: int
    checkpoint_bytes: int
    operations: tuple[Operation, ...]
    dispatches: int
    tokens: int
    layers: int
    versions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, ready for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "Trace":
        """The inverse of `to_dict`."""
        return Trace(**data | {"operations": tuple(Operation(**each) for each in data["operations"])})

"""What others predict of a training's peak memory, on the same points: the formulas that people use today.

Each is a function of `Facts` and gives bytes, or None where it has nothing to say. They are held to what they say of
themselves: an estimator that counts every parameter as trained does so here too, and one that knows neither batch nor
length gives the same figure for all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

GB = 1e9


@dataclass(frozen=True)
class Facts:
    """What the formulas ask of a training.

    Attributes:
        parameters: of the base model.
        trainable: parameters that train; all of the base's in full fine-tuning.
        full: whether the base itself trains.
        weight_bytes: of a weight of the base; 0.5 with 4-bit storage.
        trainable_bytes: of a parameter that trains.
        compute_bytes: of a number in the computation.
        rows: of a micro batch.
        tokens: of its longest row.
        layers: of the model.
        hidden: its width.
        vocabulary: its size.
        checkpointing: whether activations are computed again in the backward pass.
    """

    parameters: int
    trainable: int
    full: bool
    weight_bytes: float
    trainable_bytes: int
    compute_bytes: int
    rows: int
    tokens: int
    layers: int
    hidden: int
    vocabulary: int
    checkpointing: bool = False


def weights(facts: Facts) -> float:
    """The weights of the base alone, as `accelerate estimate-memory` gives them in the column of the total size."""
    return facts.parameters * facts.weight_bytes


def accelerate(facts: Facts) -> float | None:
    """`accelerate estimate-memory`, training with Adam: `estimate_training_usage` of accelerate 1.15.

    Of model, gradients, optimizer and step it shows the largest: 16 bytes a parameter in float32, 8 in bfloat16. It
    knows full fine-tuning alone, and no activations.
    """
    if not facts.full:
        return None
    return facts.parameters * (16.0 if facts.compute_bytes == 4 else 8.0)


def llama_factory(facts: Facts) -> float:
    """The table of hardware requirements in LLaMA-Factory's README (2025): GB for each 10^9 parameters.

    Full fine-tuning 18 with float32 weights and 8 with bfloat16 ones, adapters 2, QLoRA 1 (8 bits) or 1/2 (4 bits).
    """
    if facts.full:
        each = 18.0 if facts.trainable_bytes == 4 else 8.0
    else:
        each = {0.5: 0.5, 1.0: 1.0}.get(facts.weight_bytes, 2.0)
    return facts.parameters / 1e9 * each * GB


def zero_states(facts: Facts) -> float:
    """Model states in mixed precision with Adam: 16 bytes a parameter (ZeRO, arXiv:1910.02054, section 3.1).

    That is 2 each for weights and gradients in 16 bits, and 12 for master weights and two moments in float32.
    DeepSpeed's estimators count so too, for every parameter of the model whether it trains or not, and no activations;
    without offloading and for one GPU theirs give 18 to 20 bytes.
    """
    return 16.0 * facts.parameters


def korthikanti(facts: Facts) -> float:
    """States, activations and logits by Korthikanti et al. 2022 (arXiv:2205.05198).

    A layer keeps 34 s b h bytes where attention does not keep its scores (eq. 6 for one device, as with fused
    kernels), or 2 s b h with full recomputation (section 5); the output layer 4 s b h (1 + v / h) (section 4.3). The
    formula is for 16 bits and is scaled to the width of the computation, logits left out, which are in float32.
    """
    cells = facts.tokens * facts.rows * facts.hidden
    layer = (2.0 if facts.checkpointing else 34.0) * facts.compute_bytes / 2
    return _states(facts) + layer * cells * facts.layers + 4.0 * cells * (1 + facts.vocabulary / facts.hidden)


def hugging_face(facts: Facts) -> float:
    """The regression of Hugging Face's post on GPU memory (huggingface.co/blog/train_memory, 2024).

    Model + optimizer + the largest of gradients, the optimizer's intermediates and activations, with
    4.6894e-4 N + 1.8494e6 activations a token. Gradients and optimizer are those of what trains.
    """
    gradients = facts.trainable * facts.trainable_bytes
    activations = (4.6894e-4 * facts.parameters + 1.8494e6) * facts.rows * facts.tokens * facts.compute_bytes
    return _weights(facts) + 2 * gradients + max(gradients, activations)


def _weights(facts: Facts) -> float:
    return facts.parameters * (facts.trainable_bytes if facts.full else facts.weight_bytes)


def _states(facts: Facts) -> float:
    """Weights, and gradient and two moments of what trains."""
    return _weights(facts) + 3.0 * facts.trainable * facts.trainable_bytes


BASELINES: dict[str, Callable[[Facts], float | None]] = {
    "weights alone": weights,
    "accelerate estimate-memory": accelerate,
    "LLaMA-Factory's table": llama_factory,
    "ZeRO states (DeepSpeed)": zero_states,
    "Korthikanti + logits": korthikanti,
    "Hugging Face regression": hugging_face,
}

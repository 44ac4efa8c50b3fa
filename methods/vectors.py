"""VB-LoRA, Uni-LoRA and TinyLoRA: all updates are made of a few vectors that the layers share."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.method import register
from methods import _peft
from methods._linear import LinearAdapter


@register
@dataclass
class VbLora(LinearAdapter):
    """VB-LoRA: LoRA whose matrices are put together from a bank of vectors that all layers share.

    Li, Han, Ji: "VB-LoRA: Extreme Parameter Efficient Fine-Tuning with Vector Banks", 2024, arXiv:2405.15179.
    """

    takes_conv1d: ClassVar[bool] = True

    name: str = "vblora"
    learning_rate: float = 5e-2
    rank: int = 4
    vectors: int = 256  # in the bank
    vector_length: int = 0  # a divisor of the widths of all layers; 0: the greatest up to 256
    top: int = 2  # vectors that are mixed to one

    def config(self, model: Any) -> Any:
        """On all linear layers but the head."""
        from peft import VBLoRAConfig
        from torch import nn
        from transformers.pytorch_utils import Conv1D

        head = model.get_output_embeddings()
        linear = [m.weight for m in model.modules() if isinstance(m, nn.Linear | Conv1D) and m is not head]
        common = math.gcd(*(size for weight in linear for size in weight.shape))
        greatest = max(length for length in range(1, 257) if common % length == 0)
        return VBLoRAConfig(
            target_modules="all-linear",
            r=self.rank,
            num_vectors=self.vectors,
            vector_length=self.vector_length or greatest,
            topk=self.top,
            fan_in_fan_out=_peft.has_conv1d(model),
        )

    def errors(self) -> list[str]:
        """Rank, and the bank."""
        found = super().errors() + _peft.at_least_one(rank=self.rank, vectors=self.vectors, top=self.top)
        if self.top > self.vectors:
            found.append(f"method.top must be <= method.vectors={self.vectors}, got {self.top}")
        if self.vector_length < 0:
            found.append(f"method.vector_length must be >= 0, got {self.vector_length}")
        return found


@register
@dataclass
class UniLora(LinearAdapter):
    """Uni-LoRA: LoRA whose matrices, of all layers, are one trained vector, its elements put to random places.

    Li, Han, Su, Li, Cai, Ji: "Uni-LoRA: One Vector is All You Need", 2025, arXiv:2506.00799.
    """

    takes_conv1d: ClassVar[bool] = True

    name: str = "unilora"
    learning_rate: float = 5e-2
    rank: int = 4
    length: int = 2048  # of the vector
    dropout: float = 0.0

    def config(self, model: Any) -> Any:
        """On all linear layers but the head; the places are saved too."""
        from peft import UniLoraConfig

        return UniLoraConfig(
            target_modules="all-linear",
            r=self.rank,
            theta_d_length=self.length,
            proj_seed=_peft.seed(),
            unilora_dropout=self.dropout,
            save_indices=True,
            fan_in_fan_out=_peft.has_conv1d(model),
        )

    def errors(self) -> list[str]:
        """Rank, length and dropout."""
        found = super().errors() + _peft.at_least_one(rank=self.rank, length=self.length)
        found += _peft.shares(dropout=self.dropout)
        return found


@register
@dataclass
class TinyLora(LinearAdapter):
    """TinyLoRA: a few trained numbers for every linear layer, in the space of its principal singular vectors.

    Morris, Mireshghallah, Ibrahim, Mahloujifar: "Learning to Reason in 13 Parameters", 2026, arXiv:2602.04118.
    """

    takes_conv1d: ClassVar[bool] = True

    name: str = "tinylora"
    learning_rate: float = 2e-3
    rank: int = 2  # singular vectors
    numbers: int = 64  # trained ones of a group of layers
    sharing: float = 0.0  # 0: every layer is a group, 1: all of them are one

    def config(self, model: Any) -> Any:
        """On all linear layers but the head; the random projections are saved too."""
        from peft import TinyLoraConfig

        return TinyLoraConfig(
            target_modules="all-linear",
            r=self.rank,
            u=self.numbers,
            weight_tying=self.sharing,
            projection_seed=_peft.seed(),
            fan_in_fan_out=_peft.has_conv1d(model),
        )

    def errors(self) -> list[str]:
        """Rank, numbers and sharing."""
        found = super().errors() + _peft.at_least_one(rank=self.rank, numbers=self.numbers)
        if not 0 <= self.sharing <= 1:
            found.append(f"method.sharing must be >= 0 and <= 1, got {self.sharing:g}")
        return found

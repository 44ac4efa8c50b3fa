"""Trainable tokens: train the embeddings of some tokens."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.method import Context, Method, register
from methods import _peft

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class TrainableTokens(Method):
    """Trainable tokens: train the embeddings of the training data's most frequent tokens, and of the head if tied.

    peft's own method, without a paper; usually the tokens are new ones that were added to the vocabulary.
    """

    name: str = "trainable-tokens"
    learning_rate: float = 3e-2
    tokens: int = 64

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Train the rows of the embeddings that belong to the tokens."""
        from peft import TrainableTokensConfig

        return _peft.attach(model, TrainableTokensConfig(token_indices=self._chosen(context)), context)

    def _chosen(self, context: Context) -> list[int]:
        """The most frequent ones, and if there are too few, the first others."""
        counts: Counter[int] = Counter()
        for row in context.rows:  # preferences have prompt and answers apart
            for key in row:
                if key.endswith("_ids"):
                    counts.update(row[key])
        frequent = [token for token, _ in counts.most_common(self.tokens)]
        others = (token for token in range(context.info.vocabulary) if token not in counts)
        return sorted([*frequent, *others][: self.tokens]) if len(frequent) < self.tokens else sorted(frequent)

    def mergeable(self) -> bool:
        """The rows can take the place of the base's."""
        return True

    def param_groups(self, model: "nn.Module") -> list[dict[str, Any]] | None:
        """The adapter at the method's learning rate, a classifier's new head at its own."""
        return _peft.groups(model)

    def errors(self) -> list[str]:
        """How many."""
        return super().errors() + _peft.at_least_one(tokens=self.tokens)

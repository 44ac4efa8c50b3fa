"""CPT: a prompt of training examples, whose embeddings may move a little."""

from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

from bench.method import Context, Method, ModelInfo, register
from methods import _peft

if TYPE_CHECKING:
    from torch import Tensor, nn

IGNORED = -100  # label of a token of the prompt
INPUT, ANSWER = 2, 4  # kinds of tokens, as CPT numbers them; an answer's embeddings stay as they are


@register
@dataclass
class ContextPrompt(Method):
    """CPT: train a small shift of the embeddings of training examples that stand in front of the input.

    Blau, Kimhi, Belinkov, Bronstein, Baskin: "Context-aware Prompt Tuning: Advancing In-Context Learning with
    Adversarial Methods", 2024, arXiv:2410.17222. The loss is that of the completion alone, without the paper's loss
    of the answers in the context.
    """

    name: str = "cpt"
    learning_rate: float = 3e-1
    virtual_tokens: int = 64  # of the first training examples, repeated where they are too short
    epsilon: float = 1.0  # longest shift of an embedding of width 2048; that of others grows with the root of the width

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Put the examples in front of the input's embeddings."""
        from peft import CPTConfig

        tokens, kinds = self._examples(context)
        config = CPTConfig(
            task_type="CAUSAL_LM",
            cpt_token_ids=tokens,
            cpt_mask=[1] * len(tokens),
            cpt_tokens_type_mask=kinds,
            opt_projection_epsilon=self.epsilon,
            opt_projection_format_epsilon=self.epsilon,
        )
        adapted = _peft.attach(model, config, context)
        encoder = adapted.prompt_encoder["default"]
        encoder.get_projection = partial(_shortened, encoder, encoder.get_epsilon())
        return adapted

    def _examples(self, context: Context) -> tuple[list[int], list[int]]:
        """Token ids of the examples and what kind each token is of."""
        found: list[tuple[int, int]] = []
        texts = context.tokenizer([context.instruction, *context.examples])["input_ids"]
        rows = context.rows or [{"input_ids": ids, "labels": [IGNORED] * len(ids)} for ids in texts]
        for number, row in enumerate(cycle(rows)):
            pairs = zip(row["input_ids"], row["labels"], strict=True)
            found += [(token, ANSWER * number + (INPUT if label == IGNORED else ANSWER)) for token, label in pairs]
            if len(found) >= self.virtual_tokens:
                break
        tokens, kinds = zip(*found[: self.virtual_tokens], strict=True)
        return list(tokens), list(kinds)

    def param_groups(self, model: "nn.Module") -> list[dict[str, Any]] | None:
        """The adapter at the method's learning rate, a classifier's new head at its own."""
        return _peft.groups(model)

    def supports(self, model: ModelInfo) -> str | None:
        """As far as peft has written it."""
        if model.kind != "causal" or model.architecture in _peft.RECURRENT:
            return f"peft has it for causal models with attention, and this is a {model.architecture}"
        return None

    def errors(self) -> list[str]:
        """Number of tokens and their freedom."""
        found = super().errors() + _peft.at_least_one(virtual_tokens=self.virtual_tokens)
        return found if self.epsilon > 0 else [*found, f"method.epsilon must be > 0, got {self.epsilon:g}"]


def _shortened(encoder: Any, epsilon: "Tensor") -> "Tensor":
    """The shifts, those that are too long cut to their limit.

    peft's own does the same with a choice among the tokens, which cannot be traced on tensors without content.
    """
    weight = encoder.delta_embedding.weight.detach()
    limit = epsilon.to(weight.device)
    return weight * (limit / weight.norm(dim=1).clamp(min=limit))[:, None]

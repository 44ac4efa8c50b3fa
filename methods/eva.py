"""EVA: LoRA that starts from what varies most in the inputs of every layer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.method import Context, ModelInfo, register
from methods import _peft
from methods.lora import Lora

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class Eva(Lora):
    """EVA: LoRA whose inner matrix starts from the principal components of each layer's inputs on the training data.

    Paischer, Hauzenberger, Schmied, Alkin, Deisenroth, Hochreiter: "Parameter Efficient Fine-tuning via Explained
    Variance Adaptation", 2024, arXiv:2410.07170. The ranks are distributed over the layers by the variance that the
    components explain; `rank` is their mean. All tokens of the rows count, not those with loss alone: of short answers
    there are too few.
    """

    name: str = "eva"
    redistribution: float = 2.0  # a layer's rank is at most so many times `rank`; 1: that of all layers is the same

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Add the update, and start it from a pass over the rows."""
        from peft import EvaConfig, initialize_lora_eva_weights

        from methods._rows import batches

        eva = EvaConfig(rho=self.redistribution, use_label_mask=False)
        config = self.config(model, init_lora_weights="eva", eva_config=eva)
        adapted: Any = _peft.attach(model, config, context)
        if context.contents and context.rows:
            tokens = 4 * round(self.rank * self.redistribution)  # more than components, or peft leaves a batch out
            initialize_lora_eva_weights(
                adapted,
                list(batches(adapted, context, tokens)),
                forward_fn=lambda model, batch: model(
                    input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
                ),
                gather_distributed_inputs=False,
                show_progress_bar=False,
            )
        return adapted

    def supports(self, model: ModelInfo) -> str | None:
        """Needs layers that all read the same tokens."""
        if model.kind == "seq2seq":
            return "peft's EVA has one mask of tokens for all layers, and those of an encoder-decoder read two texts"
        return super().supports(model)

    def errors(self) -> list[str]:
        """Those of LoRA, and the redistribution."""
        wrong = f"method.redistribution must be >= 1, got {self.redistribution:g}"
        return super().errors() + ([wrong] if self.redistribution < 1 else [])

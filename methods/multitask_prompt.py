"""Multitask prompt tuning: a prompt that tasks share, times a matrix of rank one of each task."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.method import Context, ModelInfo, register
from methods import _peft
from methods.prompt import Prompt

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class MultitaskPrompt(Prompt):
    """Multitask prompt tuning: train a prompt and a low-rank matrix of the task that it is multiplied with.

    Wang, Panda, Karlinsky, Feris, Sun, Kim: "Multitask Prompt Tuning Enables Parameter-Efficient Transfer Learning",
    2023, arXiv:2303.02861. A run has one task, so this is the paper's second stage without its first, in which the
    prompt is distilled from other tasks. The matrix starts as ones, the prompt as in prompt tuning.
    """

    name: str = "multitask-prompt"
    rank: int = 1  # of the task's matrix

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Put the virtual tokens in front of the input's embeddings."""
        import torch
        from peft import MultitaskPromptTuningConfig

        config = MultitaskPromptTuningConfig(
            num_virtual_tokens=self.virtual_tokens, num_ranks=self.rank, num_tasks=1, **_peft.soft_prompt(model)
        )
        adapted = _peft.attach(model, config, context)
        encoder = adapted.prompt_encoder["default"]
        with torch.no_grad():
            encoder.prefix_task_cols.fill_(1.0)
            encoder.prefix_task_rows.fill_(1.0 / self.rank)
        self.start(adapted, context)
        return adapted

    def supports(self, model: ModelInfo) -> str | None:
        """None of peft's stands in front of what an encoder reads for a decoder."""
        if model.kind == "seq2seq":
            return "peft has multitask prompts for causal models and classifiers, and this is a seq2seq model"
        return super().supports(model)

    def errors(self) -> list[str]:
        """Those of a prompt, and the rank."""
        found = super().errors() + _peft.at_least_one(rank=self.rank)
        if self.init == "vocabulary":
            found.append("method.init must be one of text, random for multitask-prompt, got 'vocabulary'")
        return found

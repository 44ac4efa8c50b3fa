"""Preferences as an objective: TRL's DPOTrainer, counted as the others are.

It changes in four points. It reads tokens that are made already. Its reference is the untouched base (adapter
disabled, or log-probabilities computed beforehand) where TRL would copy the adapter. The adapter keeps float32 where
TRL would cast it to bfloat16 on a quantised base. And with `train.loss=labelled` the logits of the prompt are not
computed, for which TRL's fused head has no way; `train.loss=full` is TRL's own loss, and a test holds the two to the
same values.
"""

from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from trl import DPOConfig, DPOTrainer

from bench.config import Run
from bench.data.tokens import IGNORED
from bench.models.logits import completion_log_probs
from bench.train.meter import StepMeter
from bench.train.trainers import Measured


class DpoTrainer(Measured, DPOTrainer):
    """Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) by TRL, against the untouched base."""

    rows_per_example = 2  # the right completion and the rejected one

    def __init__(
        self, run: Run, meter: StepMeter, arguments: dict[str, Any], model: nn.Module, rows: Dataset, tokenizer: Any
    ):
        self.run, self.meter = run, meter
        known = "ref_chosen_logps" in rows.column_names
        config = DPOConfig(
            **arguments,
            beta=run.method.beta,  # type: ignore[union-attr]
            loss_type=["sigmoid"],
            label_smoothing=0.0,
            max_length=None,
            disable_dropout=True,
            precompute_ref_log_probs=known,
        )
        masters = {name: p.data.clone() for name, p in model.named_parameters() if p.requires_grad}
        super().__init__(model, None, config, train_dataset=rows, processing_class=tokenizer, callbacks=[meter])
        for name, p in model.named_parameters():
            if name in masters:
                p.data = masters[name]
        if isinstance(model, PeftModel) and "ref" in model.peft_config:
            model.delete_adapter("ref")

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Mean over the pairs of -log sigmoid(beta * (margin of the policy - margin of the reference))."""
        if self.run.train.loss == "full":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, IGNORED)
        batch = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"], "labels": labels}
        chosen, rejected = completion_log_probs(model, batch).chunk(2)
        if self.precompute_ref_logps:
            reference = inputs["ref_chosen_logps"] - inputs["ref_rejected_logps"]
        else:
            with torch.no_grad(), self._untouched(model):
                ref_chosen, ref_rejected = completion_log_probs(model, batch).chunk(2)
            reference = ref_chosen - ref_rejected
        return -logsigmoid(self.beta * (chosen - rejected - reference)).mean()

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset  # tokenised already

    def _precompute_ref_logps(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset  # the columns are there already

    def _untouched(self, model: nn.Module) -> AbstractContextManager[None]:
        return cast(Any, self.accelerator).unwrap_model(model).disable_adapter()

    def trained_tokens(self, inputs: dict[str, Tensor]) -> Tensor:
        """Number of completion tokens, right and rejected ones."""
        return inputs["completion_mask"].sum()

"""Preferences as objectives: the trainers of TRL, counted as the others are. Those without a reference stand apart.

They change in these points. They read tokens that are made already. Their reference is the untouched base (adapter
disabled, or log-probabilities computed beforehand) where TRL would copy the adapter. What trains keeps float32 where
TRL would cast it to bfloat16 on a quantised base. And with `train.loss=labelled` the logits of the prompt are not
computed, for which TRL has no way on all devices: the same losses are taken of fewer logits (`bench.train.losses`);
`train.loss=full` is TRL's own loss, and tests hold the two to the same values.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, cast
from unittest.mock import patch

import torch
from datasets import Dataset
from torch import Tensor, nn
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from bench.config import Run
from bench.data.tokens import IGNORED
from bench.models.logits import completion_log_probs
from bench.train import ranks
from bench.train.losses import Pairs, preference_loss
from bench.train.meter import StepMeter
from bench.train.trainers import Measured

Batch = dict[str, Tensor]


class Paired(Measured):
    """What the trainers of pairs share: batches are first all right answers, then the rejected ones."""

    rows_per_example = 2

    def compute_loss(
        self, model: nn.Module, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Of the labelled positions alone, or TRL's own."""
        if self.run.train.loss == "full":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[misc]
        return preference_loss(self.method, self.pairs(model, inputs))

    def pairs(self, model: nn.Module, inputs: Batch) -> Pairs:
        """What the loss is computed from."""
        raise NotImplementedError


class _NoReference(nn.Module):
    """Stands for TRL's reference model while its trainer is set up, which else copies the adapter or loads a model."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def forward(self) -> None:
        """Never called."""


class Referenced(Paired):
    """What DPO and KTO share: log-probabilities under the untouched base, computed beforehand or while training."""

    config: ClassVar[type[DPOConfig] | type[KTOConfig]]
    collate: ClassVar[Any] = None  # TRL's own

    def __init__(
        self, run: Run, meter: StepMeter, arguments: dict[str, Any], model: nn.Module, rows: Dataset, tokenizer: Any
    ):
        self.run, self.meter = run, meter
        self.known = "ref_chosen_logps" in rows.column_names
        settings = self.settings() | {"disable_dropout": True, "max_length": None}
        masters = {name: p.data for name, p in model.named_parameters() if p.requires_grad}
        # TRL refuses an adapter of the head, which its own way to compute log-probabilities would pass over
        headless = patch.object(model, "get_output_embeddings", lambda: None)
        with nullcontext() if run.train.loss == "full" else headless:
            super().__init__(  # type: ignore[call-arg]
                model=model,
                ref_model=None if ranks.sharded() else _NoReference(model.config),
                args=self.config(**(arguments | settings), precompute_ref_log_probs=self.known),
                data_collator=self.collate and self.collate(tokenizer.pad_token_id),
                train_dataset=rows,
                processing_class=tokenizer,
                callbacks=[meter],
            )  # fmt: skip
        self.ref_model = None
        for name, p in model.named_parameters():
            if name in masters:
                p.data = masters[name]
        if "ref" in getattr(model, "peft_config", {}):  # TRL's copy, where a sharded model leaves it its own way
            cast(Any, model).delete_adapter("ref")

    def settings(self) -> dict[str, Any]:
        """Those of TRL that the method decides."""
        raise NotImplementedError

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset  # tokenised already

    def _precompute_ref_logps(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset  # the columns are there already

    def _untouched(self, model: nn.Module) -> AbstractContextManager[None]:
        return cast(Any, self).accelerator.unwrap_model(model).disable_adapter()

    def trained_tokens(self, inputs: Batch) -> Tensor:
        """Number of completion tokens, right and rejected ones."""
        return inputs["completion_mask"].sum()

    @torch.no_grad()
    def _reference(self, model: nn.Module, batch: Batch) -> Tensor:
        with self._untouched(model):
            return completion_log_probs(model, batch)


def _labelled(inputs: Batch, prefix: str = "") -> Batch:
    """A batch of TRL's with labels on the completions."""
    ids, mask, completion = (inputs[prefix + key] for key in ("input_ids", "attention_mask", "completion_mask"))
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(completion == 0, IGNORED)}


class DpoTrainer(Referenced, DPOTrainer):
    """Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) and other losses of its margin."""

    config = DPOConfig

    def settings(self) -> dict[str, Any]:
        """The loss."""
        method: Any = self.method
        return {
            "beta": method.beta,
            "loss_type": [method.loss_type],
            "label_smoothing": method.label_smoothing,
        }

    def pairs(self, model: nn.Module, inputs: Batch) -> Pairs:
        """Both answers, and the reference's."""
        batch = _labelled(inputs)
        log_probs = completion_log_probs(model, batch)
        if self.known:
            reference = torch.cat((inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]))
        else:
            reference = self._reference(model, batch)
        return Pairs(log_probs, inputs["completion_mask"].sum(1), reference)


class Unpaired(DataCollatorForUnpairedPreference):
    """TRL's collator of answers by themselves, from rows that are pairs with the answers of another pair."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """All right answers, then the rejected ones."""
        return super().torch_call([_alone(pair, answer) for answer in ("chosen", "rejected") for pair in examples])


def _alone(pair: dict[str, Any], answer: str) -> dict[str, Any]:
    row = {
        "prompt_ids": pair["prompt_ids"],
        "completion_ids": pair[f"{answer}_ids"],
        "KL_completion_ids": pair[f"other_{answer}_ids"],
        "label": answer == "chosen",
    }
    if "ref_chosen_logps" in pair:
        row |= {"ref_logps": pair[f"ref_{answer}_logps"], "ref_KL_logps": pair[f"ref_other_{answer}_logps"]}
    return row


class KtoTrainer(Referenced, KTOTrainer):
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv:2402.01306) of both answers of every pair.

    TRL reads every prompt also with the answer to another one, its neighbour in a batch, from which the divergence from
    the base is estimated; batches are therefore always the same. Here the other answer belongs to the row
    (`bench.train.loop.rows`), so that the data come in the order of the seed, and a batch may be a single pair.
    """

    config = KTOConfig
    collate = Unpaired

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.loss_type, self.calculate_KL = "kto", True

    def settings(self) -> dict[str, Any]:
        """The loss."""
        method: Any = self.method
        return {
            "beta": method.beta,
            "loss_type": "apo_zero_unpaired",  # until it is set up: the other asks for batches that are always the same
            "desirable_weight": method.desirable_weight,
            "undesirable_weight": method.undesirable_weight,
        }

    def pairs(self, model: nn.Module, inputs: Batch) -> Pairs:
        """Both answers, the reference's, and the mean gain of the mismatched ones; what has no gradient comes first."""
        batch, others = _labelled(inputs), _labelled(inputs, "KL_")
        with torch.no_grad():
            mismatched = completion_log_probs(model, others)
        if self.known:
            reference, other = inputs["ref_logps"], inputs["ref_KL_logps"]
        else:
            reference, other = self._reference(model, batch), self._reference(model, others)
        log_probs = completion_log_probs(model, batch)
        divergence = ranks.total((mismatched - other).mean()) / ranks.world()
        return Pairs(log_probs, inputs["completion_mask"].sum(1), reference, divergence)


TRAINERS: dict[str, Any] = {"dpo": DpoTrainer, "kto": KtoTrainer}

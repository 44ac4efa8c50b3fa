"""Preferences without a reference: ORPO and CPO, by trainers that TRL counts among its experimental ones.

They change as those of `bench.train.preferences` do; besides, ORPO's cross-entropy is taken on the right answer, as
every loss here, where TRL's is taken on prompt and answer.
"""

import os
from typing import Any, ClassVar, cast

from datasets import Dataset
from torch import Tensor, nn

from bench.config import Run
from bench.data.tokens import IGNORED, PadRight, Tokens, training_row
from bench.models.logits import completion_log_probs
from bench.train.losses import Pairs
from bench.train.meter import StepMeter
from bench.train.preferences import Batch, Paired

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # a warning at import; TRL's version is pinned
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

SIDES = ("chosen", "rejected")


class BothAnswers(PadRight):
    """Collate pairs as supervised rows of both answers: all right ones, then the rejected ones."""

    def __call__(self, rows: Any) -> Batch:
        """`input_ids`, `attention_mask` and `labels`."""
        answers = [(row["prompt_ids"], row[f"{side}_ids"]) for side in SIDES for row in rows]
        return super().__call__([training_row(Tokens(prompt, answer)) for prompt, answer in answers])


class Monolithic(Paired):
    """What ORPO and CPO share: no reference, and TRL's trainers of an older make."""

    config: ClassVar[Any]

    def __init__(
        self, run: Run, meter: StepMeter, arguments: dict[str, Any], model: nn.Module, rows: Dataset, tokenizer: Any
    ):
        self.run, self.meter = run, meter
        settings = {"beta": cast(Any, self.method).beta, "max_length": run.task.max_length} | self.settings()
        super().__init__(  # type: ignore[call-arg]
            model=model,
            args=self.config(**arguments, **settings, disable_dropout=True),
            data_collator=BothAnswers(tokenizer.pad_token_id),
            train_dataset=rows.select([0]),  # its preparation is made for text
            processing_class=tokenizer,
            callbacks=[meter],
        )  # fmt: skip
        self.train_dataset = rows

    def settings(self) -> dict[str, Any]:
        """Those of TRL that the method decides, beside beta."""
        return {}

    def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
        """The row as it is, tokenised already."""
        return feature

    def get_batch_loss_metrics(self, model: Any, batch: Batch, train_eval: Any = "train") -> Any:
        """TRL's loss, of a batch in parts."""
        parts = {key: value.chunk(2) for key, value in batch.items()}
        right, wrong = ({f"{name}_{key}": part[i] for key, part in parts.items()} for i, name in enumerate(SIDES))
        return super().get_batch_loss_metrics(model, right | wrong, train_eval)  # type: ignore[misc]

    def pairs(self, model: nn.Module, inputs: Batch) -> Pairs:
        """Both answers."""
        return Pairs(completion_log_probs(model, inputs), (inputs["labels"] != IGNORED).sum(1))

    def trained_tokens(self, inputs: Batch) -> Tensor:
        """Number of labels, of right and rejected answers."""
        return (inputs["labels"] != IGNORED).sum()


class OrpoTrainer(Monolithic, ORPOTrainer):
    """Odds ratio preference optimisation (Hong et al. 2024, arXiv:2403.07691)."""

    config = ORPOConfig

    def concatenated_forward(self, model: nn.Module, batch: Batch) -> Any:
        """TRL's, with the cross-entropy of the right answers instead of prompts and answers."""
        right, wrong, right_logits, wrong_logits, _, *others = super().concatenated_forward(model, batch)
        tokens = (batch["chosen_labels"] != IGNORED).sum(1)
        return right, wrong, right_logits, wrong_logits, -(right * tokens).sum() / tokens.sum(), *others


class CpoTrainer(Monolithic, CPOTrainer):
    """Contrastive preference optimisation (Xu et al. 2024, arXiv:2401.08417), and SimPO."""

    config = CPOConfig

    def settings(self) -> dict[str, Any]:
        """The loss."""
        method: Any = self.method
        return {"loss_type": method.loss_type, "cpo_alpha": method.alpha, "simpo_gamma": method.gamma}


TRAINERS: dict[str, Any] = {"orpo": OrpoTrainer, "cpo": CpoTrainer}
